import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ERRORS, type ErrorCode, GatewayError, type Problem } from '../errors.js'
import { formatCredits, type Nanocredits } from '../nanocredits.js'
import type { Team } from '../segment/types.js'

/** Where Segmind says a failure with another status than the gateway (SEGMIND.md, Errors). */
const STATUSES: Partial<Record<ErrorCode, number>> = {
  unsupported_content_type: 406,
  unsupported_image: 422,
  budget_exhausted: 406,
  credits_exhausted: 406,
  credits_reserved: 406,
  upstream_busy: 429,
}

/** What Segmind's clients look for in a 406. */
const WORDS: Partial<Record<ErrorCode, string>> = {
  unsupported_content_type: 'Invalid content type',
  budget_exhausted: 'Insufficient credits',
  credits_exhausted: 'Insufficient credits',
  credits_reserved: 'Insufficient credits',
}

/** A problem like any other; but clients of Segmind read an error only where the words `application/json` are somewhere in its type. */
export const SEGMINDS_PROBLEM_TYPE = 'application/problem+json; charset=utf-8; also="application/json"'

/** The status of a failure at an address of Segmind's. */
export function segmindStatus(code: ErrorCode): number {
  return STATUSES[code] ?? ERRORS[code].status
}

/** A problem as Segmind's clients read it: the same members, with Segmind's status, and its words first. */
export function inSegmindsWords(problem: Problem): Problem {
  const words = WORDS[problem.code]
  const detail = words === undefined ? problem.detail : `${words}. ${problem.detail}`
  return { ...problem, status: segmindStatus(problem.code), detail, error: detail }
}

/** Whether a request is at an address of Segmind's. */
export function isSegminds(request: FastifyRequest): boolean {
  return request.routeOptions?.config?.isSegminds === true
}

/** What is said where nobody knows what may be spent: old clients cannot go on without a number. */
const UNKNOWN_REMAINING = '0'

/** Adds what Segmind says on every answer, hits included: `x-remaining-credits` and `x-generation-time` (seconds). */
export function addSegmindHeaders(
  app: FastifyInstance,
  remaining: (request: FastifyRequest, team: Team) => Promise<Nanocredits | undefined>,
): void {
  app.addHook('onSend', async (request, reply) => {
    const { facts } = request
    if (!facts.caller || !isSegminds(request)) return
    reply.header('x-generation-time', ((performance.now() - facts.startedAt) / 1000).toFixed(3))
    if (reply.getHeader('x-remaining-credits') !== undefined) return
    const credits = await remaining(request, facts.caller.team)
    reply.header('x-remaining-credits', credits === undefined ? UNKNOWN_REMAINING : formatCredits(credits))
  })
}

/** Says a lack of knowledge about the account. */
export function balanceUnknown(): GatewayError {
  return new GatewayError('upstream_unavailable', 'The balance of the account is not known now.', {
    retryAfterSeconds: 5,
  })
}
