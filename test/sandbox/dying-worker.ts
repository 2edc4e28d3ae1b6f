import { parentPort } from 'node:worker_threads'

/** A worker that dies of a photo that starts with `!` and answers every other with a picture that is its number of jobs so far. */
let jobs = 0
parentPort?.on('message', (job: { image: Uint8Array } | undefined) => {
  if (!job) return parentPort?.close()
  if (job.image[0] === '!'.charCodeAt(0)) process.exit(1)
  if (job.image[0] === '?'.charCodeAt(0)) throw new Error('a bug')
  parentPort?.postMessage({ kind: 'answered', jpeg: Uint8Array.of(++jobs), width: 1, height: 1 })
})
