import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../../contracts/errors.js'
import type { RateCounts } from '../../contracts/store.js'
import type { Team } from '../../contracts/types.js'
import type { CountFailure } from './authenticate.js'
import { chargeKey, rateStoreOf } from './rate-store.js'
import { callerOf } from './request-facts.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * `request`: may spend, and counts as one request. `selections`: may spend, and counts its
     * selections itself. Absent: spends nothing, and counts as one read.
     */
    spends?: 'request' | 'selections'
  }
  interface FastifyRequest {
    /** Amount that is being counted for this request. */
    rateAmount: number
  }
}

/** The limits of a team, named as in the teams file. */
type Limit = 'requests_per_minute' | 'reads_per_minute'

const MINUTE_MS = 60_000
/** Wrong keys per minute and address before they get 429. Valid keys are never delayed by it. */
const FAILURES_PER_MINUTE = 30

const MAXIMUM: Record<Limit, (limits: Team['limits']) => number> = {
  requests_per_minute: limits => limits.requestsPerMinute,
  reads_per_minute: limits => limits.readsPerMinute,
}

export interface RateLimits {
  /**
   * Counts a request before its body is read. For a batch, only checks that the rate is not used
   * up. Throws `rate_limited`.
   */
  limitTeam(request: FastifyRequest, reply: FastifyReply): Promise<void>
  /**
   * Counts the selections of a batch as requests, all or none. Throws `rate_limited`.
   */
  countSelections(request: FastifyRequest, reply: FastifyReply, selections: number): Promise<void>
  countFailure: CountFailure
}

/**
 * Creates the limits of a team (`limits.requests_per_minute`, `limits.reads_per_minute`) and the
 * limit on wrong keys per address. A store that does not respond limits no request.
 */
export async function addRateLimits(app: FastifyInstance, counts: RateCounts): Promise<RateLimits> {
  await app.register(rateLimit, { global: false, skipOnError: true, store: rateStoreOf(counts) })
  const count = createTeamCount(app)
  // Separate names and a separate window: wrong keys never count against a team's rate.
  const failures = app.createRateLimit({
    max: FAILURES_PER_MINUTE,
    timeWindow: MINUTE_MS,
    // A client with one IPv6 address usually has the whole /64.
    keyGenerator: request => chargeKey(`failed:${normalizeIP(request.facts.address)}`, 1),
  })
  return {
    async limitTeam(request, reply) {
      const { spends } = request.routeOptions.config
      const limit = spends ? 'requests_per_minute' : 'reads_per_minute'
      const counted = await count(request, limit, spends === 'selections' ? 0 : 1)
      addRateHeaders(reply, limit, counted)
      if (counted.isExceeded || (spends === 'selections' && counted.remaining === 0))
        throw tooManyRequests(request, limit, counted)
    },
    async countSelections(request, reply, selections) {
      const limit = 'requests_per_minute'
      const counted = await count(request, limit, selections)
      const left = counted.isExceeded ? await count(request, limit, 0) : counted
      addRateHeaders(reply, limit, left)
      if (counted.isExceeded) throw tooManySelections(request, selections, left)
    },
    async countFailure(request) {
      const count = await failures(request)
      return count.isAllowed || !count.isExceeded ? undefined : { retryAfterSeconds: Math.max(1, count.ttlInSeconds) }
    },
  }
}

/** The part of the plugin's answer that is used. */
interface Count {
  max: number
  remaining: number
  ttlInSeconds: number
  isExceeded: boolean
}

/** Creates the count of a team's requests. An amount of 0 reads it. */
function createTeamCount(app: FastifyInstance) {
  app.decorateRequest('rateAmount', 1)
  const limiterOf = (limit: Limit) =>
    app.createRateLimit({
      max: request => MAXIMUM[limit](callerOf(request).team.limits),
      timeWindow: MINUTE_MS,
      keyGenerator: request => chargeKey(`${limit}:${callerOf(request).team.id}`, request.rateAmount),
    })
  const limiters = {
    requests_per_minute: limiterOf('requests_per_minute'),
    reads_per_minute: limiterOf('reads_per_minute'),
  }
  return async (request: FastifyRequest, limit: Limit, amount: number): Promise<Count> => {
    request.rateAmount = amount
    return (await limiters[limit](request)) as Count
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
