import rateLimit, { type FastifyRateLimitStoreCtor, normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../../contracts/errors.js'
import { andThen, type MaybePromise } from '../../contracts/maybe-promise.js'
import type { RateCount, RateCounts } from '../../contracts/store.js'
import type { CountFailure } from './authenticate.js'
import type { RequestCheck } from './hooks.js'
import { callerOf } from './request-facts.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * `request`: may spend, and counts as one request. `selections`: may spend, and counts its
     * selections itself. Absent: spends nothing, and counts as one read.
     */
    spends?: 'request' | 'selections'
  }
}

/** The limits of a team, named as in the teams file. */
const LIMITS = { requests_per_minute: 'requestsPerMinute', reads_per_minute: 'readsPerMinute' } as const

type Limit = keyof typeof LIMITS

const MINUTE_MS = 60_000
/** Wrong keys per minute and address before they get 429. Valid keys are never delayed by it. */
const FAILURES_PER_MINUTE = 30

export interface RateLimits {
  /**
   * Counts a request before its body is read. For a batch, only checks that the rate is not used
   * up. Throws `rate_limited`.
   */
  limitTeam: RequestCheck
  /**
   * Counts the selections of a batch as requests, all or none. Throws `rate_limited`.
   */
  countSelections(request: FastifyRequest, reply: FastifyReply, selections: number): Promise<void>
  countFailure: CountFailure
}

interface Count {
  max: number
  remaining: number
  ttlInSeconds: number
  isExceeded: boolean
}

/**
 * Creates the limits of a team (`limits.requests_per_minute`, `limits.reads_per_minute`) and the
 * limit on wrong keys per address. A store that does not respond limits no request. Teams are counted
 * directly, because the plugin counts every request as one.
 */
export async function addRateLimits(app: FastifyInstance, counts: RateCounts): Promise<RateLimits> {
  const take = (request: FastifyRequest, limit: Limit, amount: number): MaybePromise<Count> => {
    const { id, limits } = callerOf(request).team
    const max = limits[LIMITS[limit]]
    const taken = counts.take(`${limit}:${id}`, amount, { max, windowMs: MINUTE_MS })
    if (!(taken instanceof Promise)) return toCount(taken, max)
    return taken.catch(() => NOT_COUNTED).then(count => toCount(count, max))
  }
  await app.register(rateLimit, { global: false, skipOnError: true, store: storeOf(counts) })
  const failures = app.createRateLimit({
    max: FAILURES_PER_MINUTE,
    timeWindow: MINUTE_MS,
    // A client with one IPv6 address usually has the whole /64. A zone may have characters that the
    // plugin refuses, such as those of `eth0.100`.
    keyGenerator: ({ facts }) => `failed:${normalizeIP(facts.address.replace(/%.*$/, ''))}`,
  })
  return {
    limitTeam(request, reply) {
      const { spends } = request.facts.config
      const limit = spends ? 'requests_per_minute' : 'reads_per_minute'
      return andThen(take(request, limit, spends === 'selections' ? 0 : 1), counted => {
        addRateHeaders(reply, limit, counted)
        if (counted.isExceeded || (spends === 'selections' && counted.remaining === 0))
          throw tooManyRequests(request, limit, counted)
      })
    },
    async countSelections(request, reply, selections) {
      const limit = 'requests_per_minute'
      const counted = await take(request, limit, selections)
      const left = counted.isExceeded ? await take(request, limit, 0) : counted
      addRateHeaders(reply, limit, left)
      if (counted.isExceeded) throw tooManySelections(request, selections, left)
    },
    async countFailure(request) {
      const count = await failures(request)
      return count.isAllowed || !count.isExceeded ? undefined : { retryAfterSeconds: Math.max(1, count.ttlInSeconds) }
    },
  }
}

/** Assumed where the store does not respond. */
const NOT_COUNTED: RateCount = { sum: 0, endsInMs: 0 }

function toCount({ sum, endsInMs }: RateCount, max: number): Count {
  return { max, remaining: Math.max(0, max - sum), ttlInSeconds: Math.ceil(endsInMs / 1000), isExceeded: sum > max }
}

/** Adapts counts to the store of @fastify/rate-limit. What exceeds a limit is not counted. */
function storeOf(counts: RateCounts): FastifyRateLimitStoreCtor {
  return class {
    incr(
      key: string,
      callback: (error: Error | null, count?: { current: number; ttl: number }) => void,
      windowMs: number,
      max: number,
    ): void {
      Promise.resolve(counts.take(key, 1, { max, windowMs })).then(
        ({ sum, endsInMs }) => callback(null, { current: sum, ttl: endsInMs }),
        (error: Error) => callback(error),
      )
    }

    child(): this {
      return this
    }
  }
}

/**
 * Adds the limit that applied as `x-ratelimit-*` and in the fields of the IETF draft
 * (draft-ietf-httpapi-ratelimit-headers-10), where it is named as in the teams file.
 */
function addRateHeaders(reply: FastifyReply, limit: Limit, { max, remaining, ttlInSeconds }: Count): void {
  reply.headers({
    'x-ratelimit-limit': max,
    'x-ratelimit-remaining': remaining,
    'x-ratelimit-reset': ttlInSeconds,
    'ratelimit-policy': `"${limit}";q=${max};w=60`,
    ratelimit: `"${limit}";r=${remaining};t=${ttlInSeconds}`,
  })
}

const COUNTED: Record<Limit, string> = {
  requests_per_minute: 'requests a minute that may spend credits',
  reads_per_minute: 'requests a minute that spend nothing',
}

function tooManyRequests(request: FastifyRequest, limit: Limit, { max, ttlInSeconds }: Count): GatewayError {
  const { id } = callerOf(request).team
  return rateLimited(`Team ${id} may send ${max} ${COUNTED[limit]} (limits.${limit}).`, ttlInSeconds)
}

function tooManySelections(request: FastifyRequest, selections: number, left: Count): GatewayError {
  const { id } = callerOf(request).team
  const detail =
    `The batch counts as ${selections} requests, and team ${id} has ${left.remaining} of ${left.max} a minute left ` +
    '(limits.requests_per_minute). Nothing was bought. Send fewer selections, or try again later.'
  return rateLimited(detail, left.ttlInSeconds)
}

function rateLimited(detail: string, ttlInSeconds: number): GatewayError {
  return new GatewayError('rate_limited', detail, { retryAfterSeconds: Math.max(1, ttlInSeconds) })
}
