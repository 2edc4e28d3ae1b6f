import type { Clock } from '../contracts/clock.js'
import { GatewayError } from '../contracts/errors.js'
import type { CacheKey } from '../contracts/types.js'

/** Pause after the first failure that was paid; it doubles with each further one. */
const FIRST_PAUSE_MS = 30_000
const MAX_PAUSE_MS = 3_600_000
/** Requests remembered; the oldest is forgotten first. */
const MAX_REMEMBERED = 1_000

/**
 * Requests that Segmind billed without a usable picture. Buying one of them again at once would
 * most likely pay for another failure, so each is refused for a growing time. Kept by each process
 * alone.
 */
export class PaidFailures {
  readonly #now: Clock
  readonly #failed = new Map<CacheKey, { times: number; until: number }>()

  /** `now`: monotonic, milliseconds. */
  constructor(now: Clock) {
    this.#now = now
  }

  /** Throws `upstream_failed` with `Retry-After` while the request must not be bought again. */
  admit(key: CacheKey): void {
    const failed = this.#failed.get(key)
    const leftMs = failed ? failed.until - this.#now() : 0
    if (!failed || leftMs <= 0) return
    const paid = failed.times === 1 ? 'once' : `${failed.times} times`
    const detail = `Segmind was paid ${paid} for this request and returned no usable picture. Buy it again later.`
    throw new GatewayError('upstream_failed', detail, {
      retryable: false,
      retryAfterSeconds: Math.ceil(leftMs / 1000),
    })
  }

  /** Records a purchase that gave a result. */
  succeeded(key: CacheKey): void {
    this.#failed.delete(key)
  }

  /** Records a purchase that was paid and gave none. */
  failed(key: CacheKey): void {
    const times = (this.#failed.get(key)?.times ?? 0) + 1
    // Removed first, so that the map is in the order of the last failure.
    this.#failed.delete(key)
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** (times - 1), MAX_PAUSE_MS)
    this.#failed.set(key, { times, until: this.#now() + pauseMs })
    const [oldest] = this.#failed.keys()
    if (this.#failed.size > MAX_REMEMBERED && oldest) this.#failed.delete(oldest)
  }
}
