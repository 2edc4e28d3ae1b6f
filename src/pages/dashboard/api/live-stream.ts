import { GatewayProblem } from '../../../client/problem.js'
import { EventStreamParser } from './event-stream.js'

export type Connection =
  | { state: 'connecting' }
  | { state: 'live' }
  /** `retryAt`: time of the next attempt, milliseconds since 1970. */
  | { state: 'lost'; reason: string; retryAt: number }
  /** The key was refused. There is no further attempt. */
  | { state: 'refused'; reason: string }

export interface LiveStreamOptions<T> {
  /** Opens the stream. Throws `GatewayProblem`. */
  open(signal: AbortSignal): Promise<Response>
  onOverview(overview: T): void
  /** Called when the gateway confirms that the latest overview is still current. */
  onAlive(): void
  onConnection(connection: Connection): void
}

/** The gateway sends at least one event every 16 seconds. */
const SILENCE_MS = 25_000
const FIRST_DELAY_MS = 1_000
const LONGEST_DELAY_MS = 30_000

/** Returns the delay before the next attempt: exponential backoff with jitter. */
export function retryDelayMs(failures: number, random = Math.random()): number {
  const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.max(0, failures - 1))
  return Math.round(longest * (0.75 + random / 4))
}

/** Reads the gateway's event stream until stopped, and reconnects whenever it ends. */
export class LiveStream<T> {
  readonly #options: LiveStreamOptions<T>
  #failures = 0
  #isStopped = false
  #stream: AbortController | undefined
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(options: LiveStreamOptions<T>) {
    this.#options = options
  }

  start(): void {
    void this.#connect()
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
    this.#stream?.abort()
  }

  /** Reconnects at once if an attempt is scheduled. */
  retryNow(): void {
    if (this.#timer === undefined) return
    clearTimeout(this.#timer)
    void this.#connect()
  }

  async #connect(): Promise<void> {
    this.#timer = undefined
    const stream = new AbortController()
    this.#stream = stream
    if (this.#failures === 0) this.#options.onConnection({ state: 'connecting' })
    const failure = await this.#read(stream).catch((error: unknown) => error)
    stream.abort()
    if (this.#isStopped) return
    if (failure instanceof GatewayProblem && (failure.status === 401 || failure.status === 403)) {
      this.#options.onConnection({ state: 'refused', reason: failure.message })
      return
    }
    this.#failures++
    const delayMs = retryDelayMs(this.#failures)
    this.#timer = setTimeout(() => void this.#connect(), delayMs)
    this.#options.onConnection({ state: 'lost', reason: reasonText(failure), retryAt: Date.now() + delayMs })
  }

  /** Reads events. Resolves when the gateway ends the stream. */
  async #read(stream: AbortController): Promise<void> {
    const abort = () => stream.abort(new Error('no event arrived in time'))
    let watchdog = setTimeout(abort, SILENCE_MS)
    try {
      const { body } = await this.#options.open(stream.signal)
      if (!body) throw new Error('the response has no body')
      const parser = new EventStreamParser()
      const reader = body.pipeThrough(new TextDecoderStream()).getReader()
      stream.signal.addEventListener('abort', () => void reader.cancel().catch(() => {}))
      for (;;) {
        const { done, value } = await reader.read()
        stream.signal.throwIfAborted()
        if (done) return
        clearTimeout(watchdog)
        watchdog = setTimeout(abort, SILENCE_MS)
        for (const event of parser.push(value)) this.#handle(event.name, event.data)
      }
    } finally {
      clearTimeout(watchdog)
    }
  }

  #handle(name: string, data: string): void {
    if (this.#isStopped) return
    if (name === 'alive') this.#options.onAlive()
    if (name !== 'overview') return
    this.#options.onOverview(JSON.parse(data) as T)
    this.#failures = 0
    this.#options.onConnection({ state: 'live' })
  }
}

function reasonText(failure: unknown): string {
  if (failure instanceof GatewayProblem && failure.status > 0) return failure.message
  return failure === undefined ? 'The gateway closed the connection.' : 'The gateway is not responding.'
}
