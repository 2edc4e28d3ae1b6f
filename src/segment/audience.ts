import { abandoned } from './failures.js'
import type { QueuePlace } from './slots-port.js'

/**
 * The callers in this process that wait for one purchase. When the last one leaves before the call
 * is sent, `signal` is aborted, and the purchase is not made.
 */
export class Audience {
  readonly #gone = new AbortController()
  readonly signal = this.#gone.signal
  #callers = 0
  #isSent = false
  /** Returns the place in the queue. Present while the purchase waits for a slot. */
  place: (() => QueuePlace | undefined) | undefined

  /** Records that the call is sent: the purchase is now finished and kept, also without callers. */
  sent(): void {
    this.#isSent = true
  }

  /** Records that Segmind refused the call for its rate: it is not sent again without callers. */
  refused(): void {
    this.#isSent = false
    if (this.#callers === 0) this.#gone.abort(abandoned())
  }

  /**
   * Adds a caller. Returns a function by which it leaves. That one returns true when nothing is bought
   * any more, because the last caller has left.
   */
  join(): () => boolean {
    this.#callers++
    let hasLeft = false
    return () => {
      if (hasLeft) return false
      hasLeft = true
      if (--this.#callers > 0 || this.#isSent) return false
      this.#gone.abort(abandoned())
      return true
    }
  }
}
