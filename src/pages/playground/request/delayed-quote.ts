import { GatewayProblem, type Quote, type Selection } from '../../../client/index.js'
import type { GatewaySession } from '../key/gateway-session.js'

const DELAY_MS = 350

export interface QuoteEvents {
  quoted(quote: Quote): void
  failed(problem: GatewayProblem): void
}

/** Requests a quote once the selection has not changed for a moment. */
export class DelayedQuote {
  readonly #events: QuoteEvents
  #timer: ReturnType<typeof setTimeout> | undefined
  #latest = new AbortController()

  constructor(events: QuoteEvents) {
    this.#events = events
  }

  cancel(): void {
    clearTimeout(this.#timer)
    this.#latest.abort()
  }

  request(session: GatewaySession, file: Blob, selection: Selection): void {
    this.cancel()
    this.#latest = new AbortController()
    const { signal } = this.#latest
    this.#timer = setTimeout(async () => {
      try {
        const quote = await session.quote(file, selection, { signal })
        if (!signal.aborted) this.#events.quoted(quote)
      } catch (error) {
        if (!signal.aborted && error instanceof GatewayProblem) this.#events.failed(error)
      }
    }, DELAY_MS)
  }
}
