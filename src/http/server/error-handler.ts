import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type ErrorCode, GatewayError, type Problem, toProblem } from '../../contracts/errors.js'
import { deliverInSlices } from '../../contracts/event-loop.js'
import { isDropIn, SEGMIND_PROBLEM_TYPE, toSegmindProblem } from './segmind-dialect.js'

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8'

/** Errors of Fastify and its plugins, by code. */
const FOREIGN_ERRORS: Record<string, [code: ErrorCode, detail: string]> = {
  // Upload routes check the type themselves.
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_content_type', 'Send application/json.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['invalid_request', 'The length of the body differs from its Content-Length.'],
  FST_ERR_CTP_BODY_TOO_LARGE: ['image_too_large', 'The request body is larger than any accepted image can make it.'],
  FST_ERR_BAD_URL: ['invalid_request', 'The request URL is not valid.'],
  FST_ERR_MAX_PARAM_LENGTH: ['not_found', 'No route has this path.'],
}

/** Answers `not_found`, or `method_not_allowed` for a known path. */
export type NotFound = (request: FastifyRequest, reply: FastifyReply) => FastifyReply

interface KnownRoute {
  path: RegExp
  methods: string[]
}

/**
 * Answers every error with a problem body (RFC 9457; docs/reference.md, Errors). Returns the
 * not-found handler. A scope sets it again where its own hooks must run before a 404.
 */
export function addErrorHandler(app: FastifyInstance): NotFound {
  const routes: KnownRoute[] = []
  app.addHook('onRoute', ({ url, method }) => {
    routes.push({ path: toPattern(url), methods: [method].flat() })
  })
  app.setErrorHandler((error, request, reply) => sendProblem(toGatewayError(error), request, reply))
  // Runs after authentication, and before the content type of the body is checked.
  app.addHook('preParsing', (request, _reply, _payload, done) => {
    done(request.is404 ? notFoundError(request, routes) : null)
  })
  const notFound: NotFound = (request, reply) => sendProblem(notFoundError(request, routes), request, reply)
  app.setNotFoundHandler(notFound)
  return notFound
}

function notFoundError(request: FastifyRequest, routes: readonly KnownRoute[]): GatewayError {
  const path = request.url.split('?', 1)[0] ?? '/'
  const allowed = [...new Set(routes.filter(route => route.path.test(path)).flatMap(route => route.methods))].sort()
  if (allowed.length === 0 || allowed.includes(request.method))
    return new GatewayError('not_found', 'No route has this path.')
  const allow = allowed.join(', ')
  return new GatewayError('method_not_allowed', `This path accepts ${allow}.`, { headers: { allow } })
}

/** Sends an error as a problem body. Its cause is only logged. */
export function sendProblem(error: GatewayError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const problem = problemOf(error, request)
  const { status } = problem
  if (request.facts) request.facts.error = error.code
  if (status >= 500 && error.cause !== undefined)
    request.log.warn({ code: error.code, err: error.cause }, 'request failed')
  // The rest of the body is read and dropped. Left unread it would block the connection; closing
  // the connection would keep the client from reading this response.
  if (!request.raw.readableEnded) drain(request.raw.unpipe())
  if (error.retryAfterSeconds !== undefined) reply.header('retry-after', String(error.retryAfterSeconds))
  return reply
    .code(status)
    .headers(error.headers)
    .header('x-request-id', request.id)
    .header('cache-control', 'no-store')
    .type(isDropIn(request) ? SEGMIND_PROBLEM_TYPE : PROBLEM_TYPE)
    .send(JSON.stringify(problem))
}

/** Drops the rest of a body. */
function drain(body: Readable): void {
  deliverInSlices(body)
  body.resume()
}

function problemOf(error: GatewayError, request: FastifyRequest): Problem {
  const problem = toProblem(error, request.id)
  return isDropIn(request) ? toSegmindProblem(problem) : problem
}

/**
 * Translates any thrown value. An unforeseen one is a bug: `internal_error`, with the details only
 * in the log.
 */
export function toGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  const { code = '', statusCode = 500 } = Object(error) as { code?: string; statusCode?: number }
  const known = FOREIGN_ERRORS[code]
  if (known) return new GatewayError(known[0], known[1], { cause: error })
  if (statusCode >= 400 && statusCode < 500)
    return new GatewayError('invalid_request', 'The request could not be read.', { cause: error })
  const detail = 'Internal error of the gateway. The log has the details under the request id.'
  return new GatewayError('internal_error', detail, { cause: error, billed: 'unknown' })
}

/** Builds a pattern for whole paths from a route's URL: `:name` is one segment, `*` is any rest. */
function toPattern(url: string): RegExp {
  const source = url
    .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replace(/:[A-Za-z]\w*/g, '[^/]+')
    .replace(/\*/g, '.*')
  return new RegExp(`^${source}$`)
}
