import type { Clock } from '../contracts/clock.js'
import type { RetryReason } from '../contracts/observer.js'

/** Permission to send the same request again. A busy Segmind is left to the queue for slots. */
export interface Retry {
  reason: Exclude<RetryReason, 'busy'>
}

export interface RetryPolicy {
  /** Maximum sends of a request of which no byte arrived, including the first. */
  maxAttempts: number
  /** Allows one retry after a server error (`RETRY_SERVER_ERRORS`). */
  retryServerErrors: boolean
  /** Deadline of the whole call, milliseconds since 1970. */
  endsAt: number
  /** Aborted: no further retry, and pauses end. */
  closing: AbortSignal
  now: Clock
  random: () => number
  wait: (ms: number, signal: AbortSignal) => Promise<void>
  observer?: { upstreamRetried?(reason: RetryReason): void }
}

/** Backoff: up to 250 ms before the second attempt, 500 ms before the third, and so on. */
const FIRST_PAUSE_MS = 250

/**
 * Sends until the result is final, or until the next pause exceeds the call's deadline. Returns the
 * last result. `send` sets `retry` only where resending cannot bill the call twice.
 */
export async function sendWithRetries<R extends { retry?: Retry }>(
  send: () => Promise<R>,
  policy: RetryPolicy,
): Promise<R> {
  const failures = { unsent: 0, 'server error': 0 }
  for (let attempt = 1; ; attempt++) {
    const result = await send()
    const { retry } = result
    if (!retry || policy.closing.aborted) return result
    failures[retry.reason]++
    if (retry.reason === 'unsent' && failures.unsent >= policy.maxAttempts) return result
    if (retry.reason === 'server error' && (!policy.retryServerErrors || failures['server error'] > 1)) return result
    const pauseMs = FIRST_PAUSE_MS * 2 ** (attempt - 1) * (0.5 + policy.random() / 2)
    if (policy.now() + pauseMs >= policy.endsAt) return result
    await policy.wait(pauseMs, policy.closing)
    if (policy.closing.aborted) return result
    policy.observer?.upstreamRetried?.(retry.reason)
  }
}
