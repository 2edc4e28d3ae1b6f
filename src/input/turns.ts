/**
 * Turns of the event loop, shared by all large bodies of this process. libuv reads up to 2 MiB of a
 * socket before it turns to the next one, and accepts one connection in each turn. So hundreds of
 * transfers would hold up every other request: instead a few of them take a chunk in each turn.
 */
const CHUNKS_PER_TURN = 16

const waiting: (() => void)[] = []
let isScheduled = false

/** Resolves when a chunk may be taken, in the order of the calls. */
export function nextTurn(): Promise<void> {
  return new Promise(enqueue)
}

/** The parts of a `Readable` that are used here. */
interface Pausable {
  on(event: 'data', listener: () => void): unknown
  off(event: 'data', listener: () => void): unknown
  pause(): unknown
  resume(): unknown
}

/** Lets a flowing body deliver one chunk in each of its turns. Returns a function that ends it. */
export function deliverInTurns(body: Pausable): () => void {
  const yieldTurn = () => {
    body.pause()
    enqueue(() => body.resume())
  }
  body.on('data', yieldTurn)
  return () => body.off('data', yieldTurn)
}

function enqueue(take: () => void): void {
  waiting.push(take)
  if (isScheduled) return
  isScheduled = true
  setImmediate(runTurn)
}

function runTurn(): void {
  for (const take of waiting.splice(0, CHUNKS_PER_TURN)) take()
  isScheduled = waiting.length > 0
  if (isScheduled) setImmediate(runTurn)
}
