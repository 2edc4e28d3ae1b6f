import { on } from 'node:events'
import { parentPort } from 'node:worker_threads'
import type { Job, Outcome } from './segmenter.js'
import { segmentPhoto } from './vision/segment-photo.js'

/** Runs in a thread of its own and does one job after the other for `segmenter.ts`; `undefined` instead of a job ends it. */
if (parentPort) {
  for await (const [job] of on(parentPort, 'message') as AsyncIterable<[Job | undefined]>) {
    if (!job) break
    const answer = await segmentPhoto(job)
    const outcome: Outcome =
      'refused' in answer ? { kind: 'refused', message: answer.refused } : { kind: 'answered', ...answer }
    parentPort.postMessage(outcome)
  }
  parentPort.close()
}
