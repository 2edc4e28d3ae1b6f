import rateLimit, { normalizeIP, type RateLimitPluginOptions } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.js'
import type { CountFailure } from './authenticate.js'

const MINUTE_MS = 60_000
/** Wrong keys from one address in a minute before they are answered with 429; right keys are never held up by it. */
const FAILURES_PER_MINUTE = 30

export interface RateLimitOptions {
  /** Shared by all replicas; without one each process counts for itself. */
  redis: unknown
}

/**
 * Limits how often each team may ask (`limits.requests_per_minute`), and how often an address may present a wrong key.
 * A Redis that does not answer limits nobody.
 */
export async function addRateLimits(
  app: FastifyInstance,
  options: RateLimitOptions,
): Promise<{ perTeam: PerTeam; countFailure: CountFailure }> {
  await app.register(rateLimit, {
    global: false,
    ...(options.redis ? { redis: options.redis } : {}),
    skipOnError: true,
    nameSpace: 'segmind-gateway:rate:',
  } as RateLimitPluginOptions)
  addStandardFields(app)
  // Its own names and its own window: wrong keys never use up a team's rate.
  const failures = app.createRateLimit({
    max: FAILURES_PER_MINUTE,
    timeWindow: MINUTE_MS,
    // Whoever has one IPv6 address has the 2⁶⁴ beside it, too.
    keyGenerator: request => `failed:${normalizeIP((request as FastifyRequest).facts.address)}`,
  })
  return {
    perTeam: app.rateLimit({
      max: request => teamOf(request as FastifyRequest).limits.requestsPerMinute,
      timeWindow: MINUTE_MS,
      keyGenerator: request => `team:${teamOf(request as FastifyRequest).id}`,
      errorResponseBuilder: (request, context) => tooMany(request as FastifyRequest, context.max, context.ttl),
    }) as unknown as PerTeam,
    countFailure: async request => {
      const count = await failures(request)
      return count.isAllowed || !count.isExceeded ? undefined : { retryAfterSeconds: Math.max(1, count.ttlInSeconds) }
    },
  }
}

export type PerTeam = (request: FastifyRequest, reply: FastifyReply) => Promise<void>

/** Says the plugin's `x-ratelimit-*` once more in the fields of the IETF draft (draft-ietf-httpapi-ratelimit-headers-10). */
function addStandardFields(app: FastifyInstance): void {
  app.addHook('onSend', async (_request, reply) => {
    const limit = reply.getHeader('x-ratelimit-limit')
    if (limit === undefined) return
    reply.header('ratelimit-policy', `"team";q=${limit};w=60`)
    reply.header(
      'ratelimit',
      `"team";r=${reply.getHeader('x-ratelimit-remaining')};t=${reply.getHeader('x-ratelimit-reset')}`,
    )
  })
}

function teamOf(request: FastifyRequest) {
  const { caller } = request.facts
  if (!caller) throw new GatewayError('internal_error', 'A rate is limited before it is known whose it is.')
  return caller.team
}

function tooMany(request: FastifyRequest, max: number, ttlMs: number): GatewayError {
  const { id } = teamOf(request)
  return new GatewayError('rate_limited', `Team ${id} may send ${max} requests a minute.`, {
    retryAfterSeconds: Math.max(1, Math.ceil(ttlMs / 1000)),
  })
}
