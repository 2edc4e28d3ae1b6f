import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ERRORS, type ErrorCode, GatewayError, type Problem } from '../../contracts/errors.js'
import { formatCredits, type Nanocredits } from '../../contracts/nanocredits.js'
import type { Team } from '../../contracts/types.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** True on drop-in endpoints, which answer with Segmind's statuses and error texts. */
    isDropIn?: boolean
  }
}

/** Errors for which Segmind uses another status than the gateway (docs/segmind.md). */
const STATUSES: Partial<Record<ErrorCode, number>> = {
  unsupported_content_type: 406,
  unsupported_image: 422,
  budget_exhausted: 406,
  credits_exhausted: 406,
  credits_reserved: 406,
  upstream_busy: 429,
}

/** Texts that Segmind's clients look for in a 406. */
const PREFIXES: Partial<Record<ErrorCode, string>> = {
  unsupported_content_type: 'Invalid content type',
  budget_exhausted: 'Insufficient credits',
  credits_exhausted: 'Insufficient credits',
  credits_reserved: 'Insufficient credits',
}

/**
 * Media type of a problem whose text contains `application/json`: Segmind's clients read no other
 * error body.
 */
export const SEGMIND_PROBLEM_TYPE = 'application/problem+json; charset=utf-8; also="application/json"'

/**
 * Returns a problem as Segmind's clients expect it: the same members with Segmind's status, and its
 * text first.
 */
export function toSegmindProblem(problem: Problem): Problem {
  const { code } = problem
  const prefix = PREFIXES[code]
  const detail = prefix === undefined ? problem.detail : `${prefix}. ${problem.detail}`
  return { ...problem, status: STATUSES[code] ?? ERRORS[code].status, detail, error: detail }
}

export function isDropIn(request: FastifyRequest): boolean {
  return request.routeOptions?.config?.isDropIn === true
}

/** Sent while the remaining credits are unknown: existing clients need a number. */
const UNKNOWN_REMAINING = '0'

/**
 * Adds the headers of every Segmind response, hits included: `x-remaining-credits` and
 * `x-generation-time` (seconds).
 */
export function addSegmindHeaders(
  app: FastifyInstance,
  remaining: (request: FastifyRequest, team: Team) => Promise<Nanocredits | undefined>,
): void {
  app.addHook('onSend', async (request, reply) => {
    const { facts } = request
    if (!facts.caller) return
    reply.header('x-generation-time', ((performance.now() - facts.startedAt) / 1000).toFixed(3))
    if (reply.getHeader('x-remaining-credits') !== undefined) return
    const credits = await remaining(request, facts.caller.team)
    reply.header('x-remaining-credits', credits === undefined ? UNKNOWN_REMAINING : formatCredits(credits))
  })
}

export function balanceUnknown(): GatewayError {
  return new GatewayError('upstream_unavailable', 'The balance of the account is currently unknown.', {
    retryAfterSeconds: 5,
  })
}
