import { on } from 'node:events'
import { parentPort } from 'node:worker_threads'
import type { Outcome } from './segmenter.js'
import { type Question, segmentPhoto } from './vision/segment-photo.js'

// Thread of `WorkerSegmenter`: segments one photo at a time. The message `undefined` ends it.
if (parentPort) {
  for await (const [question] of on(parentPort, 'message') as AsyncIterable<[Question | undefined]>) {
    if (!question) break
    const result = await segmentPhoto(question)
    const outcome: Outcome =
      'refused' in result ? { kind: 'refused', message: result.refused } : { kind: 'answered', ...result }
    parentPort.postMessage(outcome)
  }
  parentPort.close()
}
