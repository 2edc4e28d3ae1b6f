import { abandoned } from './failures.js'
import type { QueuePlace } from './slots-port.js'

/**
 * The callers in this process that wait for one purchase. When the last one leaves, `signal` is
 * aborted: a purchase that still waits for a slot is not made.
 */
export class Audience {
  readonly #gone = new AbortController()
  readonly signal = this.#gone.signal
  #callers = 0
  /** True once the call was sent: then the purchase is finished and kept, also without callers. */
  isSent = false
  /** Returns the place in the queue. Present while the purchase waits for a slot. */
  place: (() => QueuePlace | undefined) | undefined

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
      if (--this.#callers > 0) return false
      this.#gone.abort(abandoned())
      return !this.isSent
    }
  }
}
