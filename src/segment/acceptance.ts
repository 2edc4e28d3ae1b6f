import { createHash } from 'node:crypto'
import { type ErrorCode, GatewayError } from '../errors.js'
import type { Nanocredits } from '../nanocredits.js'
import type { Bill, Purchase } from './ports.js'
import type { CacheDirectives, Result } from './types.js'

interface Lifetime {
  now(): number
  freshSeconds: number
  staleSeconds: number
}

/** Longest time a stopped or failing upstream is worth waiting for before trying again, as told to callers. */
const RETRY_AFTER_SLOW_SECONDS = 5

const STALE_INSTEAD: ReadonlySet<ErrorCode> = new Set([
  'upstream_failed',
  'upstream_timeout',
  'upstream_slow',
  'upstream_busy',
  'upstream_unavailable',
  'upstream_unauthorized',
  'credits_exhausted',
  'credits_reserved',
])

/** Failures of the request that led a flight: it named an image it did not bring, or used another question's `Idempotency-Key`. */
const LEADERS_REQUEST: ReadonlySet<ErrorCode> = new Set(['unknown_image', 'idempotency_key_reused'])

/** Failures of the team that led a flight: another team asks again, its own requests would fail alike. */
const LEADERS_TEAM: ReadonlySet<ErrorCode> = new Set([
  'budget_exhausted',
  'rate_limited',
  'credits_reserved',
  'store_unavailable',
  'overloaded',
])

const WRITTEN = Promise.resolve(true)

/** A result that costs nothing now: it is in the cache. */
export function free(result: Result): Purchase {
  return { result, bought: false, charged: 0, stored: true, written: WRITTEN, queueMs: 0, upstreamMs: 0 }
}

/** Whether a result is fresh, and young enough for this request (`Cache-Control: max-age`, RFC 9111 §5.2.1.1). */
export function isAcceptable(result: Result, directives: CacheDirectives, lifetime: Lifetime): boolean {
  const ageSeconds = (lifetime.now() - result.storedAt) / 1000
  return ageSeconds < lifetime.freshSeconds && ageSeconds <= (directives.maxAgeSeconds ?? Number.POSITIVE_INFINITY)
}

/** Whether a result past its time may stand in for this failure (RFC 5861 §4, `STALE_SECONDS`). */
export function isServableStale(result: Result, error: unknown, lifetime: Lifetime): boolean {
  const ageSeconds = (lifetime.now() - result.storedAt) / 1000
  return (
    error instanceof GatewayError &&
    STALE_INSTEAD.has(error.code) &&
    ageSeconds < lifetime.freshSeconds + lifetime.staleSeconds
  )
}

/** Whether a failure concerns only the request that led the flight, or only its team. */
export function isLeadersOwn(error: unknown, isSameTeam: boolean): boolean {
  if (!(error instanceof GatewayError)) return false
  return LEADERS_REQUEST.has(error.code) || (!isSameTeam && LEADERS_TEAM.has(error.code))
}

/** The failure of a flight as those hear it who only followed: whatever it cost, it did not cost them. */
export function asFollower(error: unknown): unknown {
  if (!(error instanceof GatewayError) || error.billed === 'no') return error
  const { code, message, retryAfterSeconds, headers, cause } = error
  return new GatewayError(code, message, {
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    headers,
    cause,
  })
}

/** The failure of a call that was billed, with what was charged for it. */
export function withCharge(error: GatewayError, charged: Nanocredits): GatewayError {
  return Object.assign(error, { charged })
}

/** What was charged to the caller that hears this failure. */
export function chargeOf(error: unknown): Nanocredits {
  return (error as { charged?: Nanocredits }).charged ?? 0
}

/** Whether somebody's patience ended while the purchase goes on. */
export function isSlow(error: unknown): boolean {
  return error instanceof GatewayError && error.code === 'upstream_slow'
}

/** Waits for a purchase until `endsAt` (`performance.now()`); then `upstream_slow`, while the purchase goes on and is kept. */
export async function inPatience<T>(purchase: Promise<T>, endsAt: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const patience = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(slow()), Math.max(0, endsAt - performance.now()))
  })
  try {
    return await Promise.race([purchase, patience])
  } finally {
    clearTimeout(timer)
  }
}

/** Makes the cached form of an answer of Segmind. */
export function toResult(
  answer: { body: Buffer; contentType: string; bill: Bill },
  known: Pick<Result, 'cost' | 'storedAt' | 'boughtBy' | 'image' | 'overlayMask' | 'scope' | 'answers'>,
): Result {
  const { body, contentType, bill } = answer
  const etag = createHash('sha256').update(body).digest('hex').slice(0, 32)
  const { upstreamRequestId } = bill
  return { body, contentType, etag, ...known, ...(upstreamRequestId !== undefined && { upstreamRequestId }) }
}

function slow(): GatewayError {
  return new GatewayError(
    'upstream_slow',
    'Segmind is still working on it; the answer is kept and found by asking again.',
    {
      billed: 'unknown',
      retryAfterSeconds: RETRY_AFTER_SLOW_SECONDS,
    },
  )
}
