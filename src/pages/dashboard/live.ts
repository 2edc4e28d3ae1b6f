import { EventStreamParser } from './event-stream.js'
import { Problem } from './problem.js'

export type Connection =
  | { is: 'connecting' }
  | { is: 'live' }
  /** `retryAt`: when it is tried again, milliseconds since 1970. */
  | { is: 'lost'; why: string; retryAt: number }
  /** The key is no longer good: it is not tried again. */
  | { is: 'refused'; why: string }

export interface LiveParts<T> {
  /** Opens the stream. Throws `Problem` where the gateway refuses. */
  open(signal: AbortSignal): Promise<Response>
  onOverview(overview: T): void
  /** What was told last is still so. */
  onAlive(): void
  onConnection(connection: Connection): void
}

/** The stream says at least every 16 seconds that it lives. */
const SILENCE_MS = 25_000
const FIRST_DELAY_MS = 1_000
const LONGEST_DELAY_MS = 30_000

/** How long to wait before the next try: twice as long each time, and not all pages at once. */
export function retryDelayMs(failures: number, random = Math.random()): number {
  const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.max(0, failures - 1))
  return Math.round(longest * (0.75 + random / 4))
}

/** Follows the gateway's events for as long as it is not stopped, and connects again whenever they end. */
export class Live<T> {
  readonly #parts: LiveParts<T>
  #failures = 0
  #stopped = false
  #stream: AbortController | undefined
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(parts: LiveParts<T>) {
    this.#parts = parts
  }

  start(): void {
    void this.#follow()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#stream?.abort()
  }

  /** Tries at once, where it waits for its next try. */
  retryNow(): void {
    if (this.#timer === undefined) return
    clearTimeout(this.#timer)
    void this.#follow()
  }

  async #follow(): Promise<void> {
    this.#timer = undefined
    const stream = new AbortController()
    this.#stream = stream
    if (this.#failures === 0) this.#parts.onConnection({ is: 'connecting' })
    const why = await this.#read(stream).catch((error: unknown) => error)
    stream.abort()
    if (this.#stopped) return
    if (why instanceof Problem && (why.status === 401 || why.status === 403)) {
      this.#parts.onConnection({ is: 'refused', why: why.message })
      return
    }
    this.#failures++
    const delayMs = retryDelayMs(this.#failures)
    this.#timer = setTimeout(() => void this.#follow(), delayMs)
    this.#parts.onConnection({ is: 'lost', why: wording(why), retryAt: Date.now() + delayMs })
  }

  /** Resolves when the gateway ends the stream. */
  async #read(stream: AbortController): Promise<void> {
    const silent = () => stream.abort(new Error('nothing was heard for too long'))
    let watchdog = setTimeout(silent, SILENCE_MS)
    try {
      const { body } = await this.#parts.open(stream.signal)
      if (!body) throw new Error('the answer is empty')
      const parser = new EventStreamParser()
      const reader = body.pipeThrough(new TextDecoderStream()).getReader()
      stream.signal.addEventListener('abort', () => void reader.cancel().catch(() => {}))
      for (;;) {
        const { done, value } = await reader.read()
        stream.signal.throwIfAborted()
        if (done) return
        clearTimeout(watchdog)
        watchdog = setTimeout(silent, SILENCE_MS)
        for (const event of parser.push(value)) this.#heard(event.name, event.data)
      }
    } finally {
      clearTimeout(watchdog)
    }
  }

  #heard(name: string, data: string): void {
    if (this.#stopped) return
    if (name === 'alive') this.#parts.onAlive()
    if (name !== 'overview') return
    this.#parts.onOverview(JSON.parse(data) as T)
    this.#failures = 0
    this.#parts.onConnection({ is: 'live' })
  }
}

function wording(why: unknown): string {
  if (why instanceof Problem && why.status > 0) return why.message
  if (why === undefined) return 'The gateway has ended the connection.'
  return 'The gateway does not answer.'
}
