import type { Clock } from '../contracts/clock.js'
import { type ErrorCode, GatewayError } from '../contracts/errors.js'
import { andThen, type MaybePromise } from '../contracts/maybe-promise.js'
import type { CacheDirectives, Result } from '../contracts/types.js'
import type { Purchase, Results } from './ports.js'
import type { Story, StoryLook } from './story.js'

/** `CACHE_TTL_SECONDS` and `STALE_SECONDS`. */
export interface Lifetime {
  now: Clock
  freshSeconds: number
  staleSeconds: number
}

/** Failures in whose place a stale result is served. */
const STALE_IF: ReadonlySet<ErrorCode> = new Set([
  'upstream_failed',
  'upstream_timeout',
  'upstream_slow',
  'upstream_busy',
  'upstream_unavailable',
  'upstream_unauthorized',
  'credits_exhausted',
  'credits_reserved',
])

/** A result to look up: its name, and the rule for results that answer the request. */
export interface Sought {
  name: string
  isAcceptable(result: Result): boolean
  /** False if the store is known to have no result. */
  isStored?: boolean | undefined
  story?: Story | undefined
}

export interface Lookup {
  /** A result that answers the request. */
  hit?: Result | undefined
  /** The hit, or a result that does not answer the request: stale, or older than its `max-age`. */
  result?: Result | undefined
  /** False when the store could not be read. */
  isSure: boolean
}

/** Looks up a result in the cache and records the outcome. Never throws: a failure is a miss. */
export function lookUp(
  when: StoryLook['when'],
  { name, isAcceptable, isStored, story }: Sought,
  results: Results,
): MaybePromise<Lookup> {
  const startedAt = performance.now()
  return andThen(results.find(name, isAcceptable, isStored), ({ result, isSure }) => {
    story?.recordStep('look', startedAt)
    const hit = result && isAcceptable(result) ? result : undefined
    const found = hit ? 'wanted' : result ? 'unwanted' : 'nothing'
    story?.looks.push({ when, found, isSure, boughtAt: result?.storedAt })
    return { hit, result, isSure }
  })
}

/** Returns a purchase that costs nothing, because the result comes from the cache. */
export function cached(result: Result): Purchase {
  return { result, bought: false, charged: 0, stored: true, written: WRITTEN, queueMs: 0, upstreamMs: 0 }
}

const WRITTEN = Promise.resolve(true)

export function isFresh(result: Result, lifetime: Pick<Lifetime, 'now' | 'freshSeconds'>): boolean {
  return ageSeconds(result, lifetime) < lifetime.freshSeconds
}

/**
 * Tells whether a result is fresh, and young enough for the request's `max-age` (RFC 9111
 * §5.2.1.1).
 */
export function isFreshEnough(result: Result, { maxAgeSeconds }: CacheDirectives, lifetime: Lifetime): boolean {
  const age = ageSeconds(result, lifetime)
  return age < lifetime.freshSeconds && age <= (maxAgeSeconds ?? Number.POSITIVE_INFINITY)
}

/** Tells whether a result, fresh or stale, may be served in place of this failure (RFC 5861 §4). */
export function isServableStale(result: Result, error: unknown, lifetime: Lifetime): boolean {
  return (
    error instanceof GatewayError &&
    STALE_IF.has(error.code) &&
    ageSeconds(result, lifetime) < lifetime.freshSeconds + lifetime.staleSeconds
  )
}

function ageSeconds({ storedAt }: Result, { now }: Pick<Lifetime, 'now'>): number {
  return (now() - storedAt) / 1000
}
