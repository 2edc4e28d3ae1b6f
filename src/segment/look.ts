import type { PipelineParts } from './ports.js'
import type { Question } from './question.js'
import { type StoryLook, timed } from './story.js'
import type { Result } from './types.js'

/** Looks for the answer of a question in the cache, and takes down what was there. Never throws: a failure is a miss. */
export async function look(
  when: StoryLook['when'],
  { name, isWanted, story }: Pick<Question, 'name' | 'isWanted' | 'story'>,
  parts: Pick<PipelineParts, 'results'>,
): Promise<Result | undefined> {
  const found = await timed(story, 'look', parts.results.find(name, isWanted))
  story?.looked(when, found, found.result !== undefined && isWanted(found.result))
  return found.result
}
