import { StoreError } from '../../contracts/store.js'

/** Passes commands to Redis while it answers, and fails them at once while it does not. */
export interface Gate {
  /**
   * Runs one command. Rejects with `StoreError` if the gate is closed, as soon as it closes, or if
   * Redis refuses the command. A later answer is dropped; a write may still take effect.
   */
  run<T>(command: () => Promise<T>): Promise<T>
  isOpen(): boolean
  open(): void
  /**
   * Fails all commands, waiting and future, until the gate opens. Repeated calls only change the
   * reason.
   */
  close(reason: string): void
  /** Resolves when no command is waiting. */
  idle(): Promise<void>
}

export interface CommandGateOptions {
  /** Silence allowed on the connection while a command waits. */
  silenceMs: number
  traffic(): Traffic
  onSilent(): void
}

/** Traffic on a connection so far. */
export interface Traffic {
  /** Changes with anything that shows the other end alive. */
  fingerprint: string
  receivedBytes: number
  sentBytes: number
}

type Fail = (error: StoreError) => void

/**
 * Creates a closed gate. A slow command does not close it: a large answer takes time on a slow
 * connection, and so do the commands behind it. Silence does: a command waits and no byte moves. A
 * stopped process, `CLIENT PAUSE` and a cut connection all look like that.
 */
export function createGate(options: CommandGateOptions): Gate {
  const waiting = new Set<Fail>()
  let closedFor: string | undefined = 'Redis is not connected yet'
  const whenIdle: (() => void)[] = []
  const detector = createSilenceDetector(options)

  const settle = (fail: Fail): boolean => {
    if (!waiting.delete(fail)) return false
    if (waiting.size === 0) {
      detector.stop()
      for (const wake of whenIdle.splice(0)) wake()
    }
    return true
  }

  const gate: Gate = {
    run<T>(command: () => Promise<T>): Promise<T> {
      if (closedFor !== undefined) return Promise.reject(new StoreError(closedFor, { mayHaveHappened: false }))
      return new Promise<T>((resolve, reject) => {
        waiting.add(reject)
        if (waiting.size === 1) detector.start()
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
    close(reason) {
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

/** Turns a synchronous throw into a rejection, as if Redis had refused the command. */
async function start<T>(command: () => Promise<T>): Promise<T> {
  return command()
}

/**
 * Keeps the message only: the client's errors carry the command's arguments, and with them images.
 */
function toStoreError(error: unknown): StoreError {
  if (error instanceof StoreError) return error
  // An error that Redis itself answered: the command had no effect.
  const isRefused = error instanceof Error && error.name === 'ReplyError'
  const message = `Redis: ${error instanceof Error ? error.message : String(error)}`
  return new StoreError(message, { mayHaveHappened: !isRefused })
}

/** Checks within the allowed silence. */
const CHECKS = 8
/** Multiple of the allowed silence that counts in any case, however late this process was. */
const MAX_PATIENCE = 3
/**
 * Unanswered bytes may still be under way on a connection this fast (100 Mbit/s), up to the limit
 * of what systems buffer.
 */
const CONNECTION_BYTES_PER_MS = 10_000
const MAX_TRANSFER_MS = 500

/**
 * Detects silence of the other end, and does not confuse it with a busy or starved process that
 * cannot read:
 * - the delay of a late check does not count as silence;
 * - before the alarm, the event loop passes its poll phase once and reads answers that wait in the
 *   socket.
 */
function createSilenceDetector({ silenceMs, traffic, onSilent }: CommandGateOptions) {
  const intervalMs = silenceMs / CHECKS
  let timer: NodeJS.Timeout | undefined
  let last: Traffic = { fingerprint: '', receivedBytes: 0, sentBytes: 0 }
  let answeredBytes = 0
  let movedAt = 0
  let silentMs = 0
  let checkedAt = 0

  const recordMovement = (current: Traffic): void => {
    if (current.receivedBytes !== last.receivedBytes) answeredBytes = current.sentBytes
    last = current
    movedAt = performance.now()
    silentMs = 0
  }

  const schedule = (): void => {
    checkedAt = performance.now()
    timer = setTimeout(check, intervalMs)
  }

  const check = (): void => {
    const now = performance.now()
    const current = traffic()
    if (current.fingerprint !== last.fingerprint) recordMovement(current)
    else silentMs += Math.min(now - checkedAt, intervalMs * 2)
    const transferMs = Math.min((current.sentBytes - answeredBytes) / CONNECTION_BYTES_PER_MS, MAX_TRANSFER_MS)
    const allowedMs = silenceMs + transferMs
    if (silentMs < allowedMs && now - movedAt < allowedMs * MAX_PATIENCE) schedule()
    else setImmediate(confirm, timer)
  }

  const confirm = (scheduled: NodeJS.Timeout | undefined): void => {
    if (timer !== scheduled) return
    if (traffic().fingerprint === last.fingerprint) onSilent()
    else schedule()
  }

  return {
    start(): void {
      const current = traffic()
      answeredBytes = current.sentBytes
      recordMovement(current)
      schedule()
    },
    stop(): void {
      clearTimeout(timer)
      timer = undefined
    },
  }
}
