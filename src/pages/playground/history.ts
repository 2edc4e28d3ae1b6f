import type { SegmentAnswer } from '../../client/index.js'
import type { Size } from './geometry.js'
import type { Question } from './question.js'

/** A picture of the user's, as it is seen: turned as EXIF says. */
export interface Picture {
  file: Blob
  name: string
  /** Of the page itself, until it is revoked. */
  url: string
  size: Size
}

/** A question with its answer. */
export interface Answered extends Question {
  picture: Picture
  answer: SegmentAnswer
  /** The answer's picture: of the page itself, until it is revoked. */
  url: string
  elapsedMs: number
  at: Date
}

export const MAX_REMEMBERED = 30

/** The newest first; the oldest is forgotten when there are too many. */
export function remember(history: readonly Answered[], entry: Answered): Answered[] {
  return [entry, ...history].slice(0, MAX_REMEMBERED)
}

/** The addresses of the page that entries need. */
export function urlsOf(entries: readonly Answered[]): string[] {
  return entries.flatMap(({ url, picture }) => [url, picture.url])
}

/** What was needed before and is not any more, each once. */
export function noLongerNeeded(before: readonly string[], after: readonly string[]): string[] {
  return [...new Set(before)].filter(url => !after.includes(url))
}

/** What a session has spent so far. */
export function spentIn(history: readonly Answered[]): number {
  return history.reduce((sum, { answer }) => sum + answer.cost, 0)
}
