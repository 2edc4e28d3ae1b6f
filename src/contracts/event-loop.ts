/**
 * The iterations of the event loop, shared by all large bodies of this process. libuv reads up to 2
 * MiB of a socket before it comes to the next one, and accepts one connection in each iteration. So
 * hundreds of transfers would hold up every other request. Instead, a few of them take a slice in
 * each iteration.
 */
const SLICES_PER_ITERATION = 16
/** As much as Node reads from a socket at once. */
const SLICE_BYTES = 64 * 1024

const waiting: (() => void)[] = []
let isScheduled = false

/** Resolves when a slice may be taken, in the order of the calls. */
export function nextSlice(): Promise<void> {
  return new Promise(enqueue)
}

/** The parts of a `Readable` that are used here. */
interface Pausable {
  on(event: 'data', listener: (chunk: Buffer) => void): unknown
  off(event: 'data', listener: (chunk: Buffer) => void): unknown
  pause(): unknown
  resume(): unknown
}

/** Pauses a flowing body after each slice until it may deliver the next. Returns a function that ends it. */
export function deliverInSlices(body: Pausable): () => void {
  let bytes = 0
  const pauseAfterSlice = (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes < SLICE_BYTES) return
    bytes = 0
    body.pause()
    enqueue(() => body.resume())
  }
  body.on('data', pauseAfterSlice)
  return () => body.off('data', pauseAfterSlice)
}

function enqueue(take: () => void): void {
  waiting.push(take)
  if (isScheduled) return
  isScheduled = true
  setImmediate(runWaiting)
}

function runWaiting(): void {
  for (const take of waiting.splice(0, SLICES_PER_ITERATION)) take()
  isScheduled = waiting.length > 0
  if (isScheduled) setImmediate(runWaiting)
}
