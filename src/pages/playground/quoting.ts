import { GatewayProblem, type Quote, type Selection } from '../../client/index.js'
import type { GatewaySession } from './gateway-session.js'

const PAUSE_MS = 350

/** What comes of a quote, told for the latest question only. */
export interface QuoteReader {
  quoted(quote: Quote): void
  failed(problem: GatewayProblem): void
}

/** Asks what a question would cost once nobody has changed it for a moment. */
export class Quoting {
  readonly #reader: QuoteReader
  #timer: ReturnType<typeof setTimeout> | undefined
  #latest = new AbortController()

  constructor(reader: QuoteReader) {
    this.#reader = reader
  }

  cancel(): void {
    clearTimeout(this.#timer)
    this.#latest.abort()
  }

  ask(session: GatewaySession, file: Blob, selection: Selection): void {
    this.cancel()
    this.#latest = new AbortController()
    const { signal } = this.#latest
    this.#timer = setTimeout(() => this.#ask(session, file, selection, signal), PAUSE_MS)
  }

  async #ask(session: GatewaySession, file: Blob, selection: Selection, signal: AbortSignal): Promise<void> {
    try {
      const quote = await session.quote(file, selection, { signal })
      if (!signal.aborted) this.#reader.quoted(quote)
    } catch (error) {
      if (!signal.aborted && error instanceof GatewayProblem) this.#reader.failed(error)
    }
  }
}
