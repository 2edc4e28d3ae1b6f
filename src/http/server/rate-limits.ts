import { isIPv6 } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'
import ipaddr from 'ipaddr.js'
import { GatewayError } from '../../contracts/errors.js'
import type { RateCounts } from '../../contracts/store.js'
import type { CountFailure } from './authenticate.js'
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
  limitTeam(request: FastifyRequest, reply: FastifyReply): Promise<void>
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
 * limit on wrong keys per address. A store that does not respond limits no request.
 */
export function createRateLimits(counts: RateCounts): RateLimits {
  const take = async (name: string, amount: number, max: number): Promise<Count> => {
    const unanswered = { sum: 0, endsInMs: 0 }
    const { sum, endsInMs } = await counts.take(name, amount, { max, windowMs: MINUTE_MS }).catch(() => unanswered)
    const ttlInSeconds = Math.ceil(endsInMs / 1000)
    return { max, remaining: Math.max(0, max - sum), ttlInSeconds, isExceeded: sum > max }
  }
  const takeOfTeam = (request: FastifyRequest, limit: Limit, amount: number): Promise<Count> => {
    const { id, limits } = callerOf(request).team
    return take(`${limit}:${id}`, amount, limits[LIMITS[limit]])
  }
  return {
    async limitTeam(request, reply) {
      const { spends } = request.routeOptions.config
      const limit = spends ? 'requests_per_minute' : 'reads_per_minute'
      const counted = await takeOfTeam(request, limit, spends === 'selections' ? 0 : 1)
      addRateHeaders(reply, limit, counted)
      if (counted.isExceeded || (spends === 'selections' && counted.remaining === 0))
        throw tooManyRequests(request, limit, counted)
    },
    async countSelections(request, reply, selections) {
      const limit = 'requests_per_minute'
      const counted = await takeOfTeam(request, limit, selections)
      const left = counted.isExceeded ? await takeOfTeam(request, limit, 0) : counted
      addRateHeaders(reply, limit, left)
      if (counted.isExceeded) throw tooManySelections(request, selections, left)
    },
    async countFailure({ facts }) {
      // Separate names: wrong keys never count against a team's rate.
      const { isExceeded, ttlInSeconds } = await take(`failed:${networkOf(facts.address)}`, 1, FAILURES_PER_MINUTE)
      return isExceeded ? { retryAfterSeconds: Math.max(1, ttlInSeconds) } : undefined
    },
  }
}

/** Returns the /64 of an IPv6 address, which one client usually has as a whole, else the address. */
function networkOf(address: string): string {
  if (!isIPv6(address)) return address
  // A zone may have characters that the parser refuses, such as those of `eth0.100`.
  const parsed = ipaddr.process(address.replace(/%.*$/, ''))
  return 'parts' in parsed ? parsed.parts.slice(0, 4).join(':') : parsed.toString()
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
