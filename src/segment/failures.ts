import { withDeadline } from '../contracts/deadline.js'
import { type ErrorCode, GatewayError } from '../contracts/errors.js'
import type { Nanocredits } from '../contracts/nanocredits.js'

/** `Retry-After` of a caller whose wait ended while the purchase continues. */
const RETRY_AFTER_SECONDS = 5

const GIVEN_UP = 'The request was still waiting when its time ended, so it was given up. Nothing was bought for it.'

/**
 * Failures of the leader's own request: an image id without bytes, or an `Idempotency-Key` of
 * another request.
 */
const LEADERS_REQUEST: ReadonlySet<ErrorCode> = new Set(['unknown_image', 'idempotency_key_reused'])

/** Failures of the leader's team. Its other requests would fail alike, another team's need not. */
const LEADERS_TEAM: ReadonlySet<ErrorCode> = new Set([
  'budget_exhausted',
  'rate_limited',
  'credits_exhausted',
  'credits_reserved',
  'store_unavailable',
  'overloaded',
])

/**
 * Tells whether a failure concerns only the leader's request or team, so that a follower should try
 * again.
 */
export function isLeaderSpecific(error: unknown, isSameTeam: boolean): boolean {
  if (!(error instanceof GatewayError)) return false
  if (isAbandoned(error)) return true
  return LEADERS_REQUEST.has(error.code) || (!isSameTeam && LEADERS_TEAM.has(error.code))
}

/** Returns a flight's failure as its followers report it: they were not billed. */
export function forFollower(error: unknown): unknown {
  return error instanceof GatewayError && error.billed !== 'no' ? error.asBilled('no') : error
}

/** Attaches what was charged for a call that failed and was billed. */
export function withCharge(error: GatewayError, charged: Nanocredits): GatewayError {
  return Object.assign(error, { charged })
}

/** Returns what the caller was charged for this failure. */
export function chargeOf(error: unknown): Nanocredits {
  return (error as { charged?: Nanocredits }).charged ?? 0
}

/** Tells whether a caller's wait ended while the purchase continues. */
export function isClientTimeout(error: unknown): boolean {
  return error instanceof GatewayError && error.code === 'upstream_slow'
}

/** Ends a purchase that waited for a slot when its last caller in this process left. */
export function abandoned(): GatewayError {
  const error = new GatewayError('upstream_slow', GIVEN_UP, { retryAfterSeconds: RETRY_AFTER_SECONDS })
  return Object.assign(error, { isAbandoned: true })
}

export function isAbandoned(error: unknown): boolean {
  return (error as { isAbandoned?: boolean } | undefined)?.isAbandoned === true
}

/**
 * Waits for a purchase until `deadline` (`performance.now()`), then throws `upstream_slow`. The
 * purchase continues, unless `leave` returns that it was given up with this caller.
 */
export function withClientDeadline<T>(purchase: Promise<T>, deadline: number, leave?: () => boolean): Promise<T> {
  // Timers drop fractions of a millisecond twice. A caller that is early would try again.
  return withDeadline(purchase, Math.ceil(deadline - performance.now()) + 1, () => {
    if (leave?.()) throw abandoned()
    throw new GatewayError(
      'upstream_slow',
      'Segmind has not answered yet. The purchase continues and its result is kept; send the request again for it.',
      { billed: 'unknown', retryAfterSeconds: RETRY_AFTER_SECONDS },
    )
  })
}
