import { StoreError } from '../../storage.js'

/** Lets commands through to Redis while it answers, and fails them at once while it does not. */
export interface Gate {
  /**
   * Runs one command. Rejects with `StoreError`: at once while the gate is shut, as soon as it shuts, or when Redis refuses the command.
   * What a command answers after that is dropped; a write may still happen.
   */
  run<T>(command: () => Promise<T>): Promise<T>
  isOpen(): boolean
  open(): void
  /** Fails what waits and whatever comes; a second time changes nothing. */
  shut(reason: string): void
  /** Resolves when no command waits. */
  idle(): Promise<void>
}

export interface GateOptions {
  /** How long nothing may move on the connection while a command waits. */
  silenceMs: number
  movement(): Movement
  onSilent(): void
}

/** What has moved on a connection so far. */
export interface Movement {
  /** Differs after anything that shows the other end alive. */
  mark: string
  receivedBytes: number
  sentBytes: number
}

type Fail = (error: StoreError) => void

/**
 * A command is not failed for being slow: a large answer on a thin line takes its time, and so does what queues behind it. What counts
 * is *silence*: a command waits and no byte moves, which is how a stopped process, `CLIENT PAUSE` and a cut line look.
 */
export function createGate(options: GateOptions): Gate {
  const waiting = new Set<Fail>()
  let closedFor: string | undefined = 'Redis is not connected yet'
  const whenIdle: (() => void)[] = []
  const watch = createSilenceWatch(options)

  const settle = (fail: Fail): boolean => {
    if (!waiting.delete(fail)) return false
    if (waiting.size === 0) {
      watch.stop()
      for (const wake of whenIdle.splice(0)) wake()
    }
    return true
  }

  const gate: Gate = {
    run<T>(command: () => Promise<T>): Promise<T> {
      if (closedFor !== undefined) return Promise.reject(new StoreError(closedFor, { mayHaveHappened: false }))
      return new Promise<T>((resolve, reject) => {
        waiting.add(reject)
        if (waiting.size === 1) watch.start()
        start(command).then(
          value => settle(reject) && resolve(value),
          error => settle(reject) && reject(toStoreError(error)),
        )
      })
    },
    isOpen: () => closedFor === undefined,
    open() {
      closedFor = undefined
    },
    shut(reason) {
      closedFor = reason
      for (const fail of [...waiting]) {
        settle(fail)
        fail(new StoreError(reason))
      }
    },
    idle: () => (waiting.size === 0 ? Promise.resolve() : new Promise(resolve => whenIdle.push(resolve))),
  }
  return gate
}

/** A command that throws before it is sent counts as one that Redis refused. */
async function start<T>(command: () => Promise<T>): Promise<T> {
  return command()
}

/** The message only: the client's errors carry the command's arguments, and with them images. */
function toStoreError(error: unknown): StoreError {
  if (error instanceof StoreError) return error
  // An error that Redis itself answers: it did not do it.
  const wasRefused = error instanceof Error && error.name === 'ReplyError'
  const message = `Redis: ${error instanceof Error ? error.message : String(error)}`
  return new StoreError(message, { mayHaveHappened: !wasRefused })
}

/** Looks this many times within the silence that is allowed. */
const LOOKS = 8
/** However often our own process was late, silence of this many times the allowed one is believed. */
const PATIENCE = 3
/** What was sent and not answered yet may still be on a line this fast (100 Mbit/s), as far as systems hold that much back. */
const LINE_BYTES_PER_MS = 10_000
const MAX_LINE_MS = 500

/**
 * Tells silence from our own deafness. While this process is busy or starved it cannot read either, so:
 * - the time by which a look comes late is not counted as silence;
 * - before the alarm the loop gets to its poll phase once, where answers that already wait in the socket are read.
 */
function createSilenceWatch({ silenceMs, movement, onSilent }: GateOptions) {
  const stepMs = silenceMs / LOOKS
  let timer: NodeJS.Timeout | undefined
  let last: Movement = { mark: '', receivedBytes: 0, sentBytes: 0 }
  let answeredBytes = 0
  let movedAt = 0
  let countedMs = 0
  let lookedAt = 0

  const note = (moved: Movement): void => {
    if (moved.receivedBytes !== last.receivedBytes) answeredBytes = moved.sentBytes
    last = moved
    movedAt = performance.now()
    countedMs = 0
  }

  const arm = (): void => {
    lookedAt = performance.now()
    timer = setTimeout(look, stepMs)
  }

  const look = (): void => {
    const now = performance.now()
    const moved = movement()
    if (moved.mark !== last.mark) note(moved)
    else countedMs += Math.min(now - lookedAt, stepMs * 2)
    const allowedMs = silenceMs + Math.min((moved.sentBytes - answeredBytes) / LINE_BYTES_PER_MS, MAX_LINE_MS)
    if (countedMs < allowedMs && now - movedAt < allowedMs * PATIENCE) arm()
    else setImmediate(lookOnce, timer)
  }

  const lookOnce = (asked: NodeJS.Timeout | undefined): void => {
    if (timer !== asked) return
    if (movement().mark === last.mark) onSilent()
    else arm()
  }

  return {
    start(): void {
      const moved = movement()
      answeredBytes = moved.sentBytes
      note(moved)
      arm()
    },
    stop(): void {
      clearTimeout(timer)
      timer = undefined
    },
  }
}
