import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type ErrorCode, GatewayError, type Problem, toProblem } from '../errors.js'
import { inSegmindsWords, isSegminds, SEGMINDS_PROBLEM_TYPE } from './segmind-dialect.js'

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8'

/** What Fastify and its plugins throw, by their codes, in the gateway's words. */
const FOREIGN: Record<string, [code: ErrorCode, detail: string]> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_content_type', 'Send multipart/form-data or application/json.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['invalid_request', 'The body does not have the length its Content-Length says.'],
  FST_ERR_CTP_BODY_TOO_LARGE: [
    'image_too_large',
    'The request body is larger than an image of the permitted size can make it.',
  ],
  FST_ERR_BAD_URL: ['invalid_request', 'The address of the request is not a valid URL.'],
  FST_ERR_MAX_PARAM_LENGTH: ['not_found', 'There is nothing at this address.'],
}

/** Answers `not_found`, or `method_not_allowed` where the address takes other methods. */
export type NotFound = (request: FastifyRequest, reply: FastifyReply) => FastifyReply

/**
 * The one place that answers errors: every failure becomes a problem body (RFC 9457) of SPEC §6. Answers what is to be set as the
 * not-found handler of every scope whose hooks shall run before it is said what is there.
 */
export function addErrorHandler(app: FastifyInstance): NotFound {
  const routes: { path: RegExp; methods: string[] }[] = []
  app.addHook('onRoute', ({ url, method }) => {
    routes.push({ path: toPattern(url), methods: [method].flat() })
  })
  app.setErrorHandler((error, request, reply) => sendProblem(toGatewayError(error), request, reply))
  // Before the body is looked at, whose type may be a reason of its own to refuse the request; after the hooks that ask for a key.
  app.addHook('preParsing', async request => {
    if (request.is404) throw nothingHere(request, routes)
  })
  const notFound: NotFound = (request, reply) => sendProblem(nothingHere(request, routes), request, reply)
  app.setNotFoundHandler(notFound)
  return notFound
}

function nothingHere(request: FastifyRequest, routes: { path: RegExp; methods: string[] }[]): GatewayError {
  const path = request.url.split('?', 1)[0] ?? '/'
  const allowed = [...new Set(routes.filter(route => route.path.test(path)).flatMap(route => route.methods))].sort()
  if (allowed.length === 0 || allowed.includes(request.method))
    return new GatewayError('not_found', 'There is nothing at this address.')
  const allow = allowed.join(', ')
  return new GatewayError('method_not_allowed', `This address takes ${allow}.`, { headers: { allow } })
}

/** Says an error as an answer; the cause goes to the log only. */
export function sendProblem(error: GatewayError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const problem = problemOf(error, request)
  const { status } = problem
  if (request.facts) request.facts.error = error.code
  if (status >= 500 && error.cause !== undefined)
    request.log.warn({ code: error.code, err: error.cause }, 'request failed')
  // The rest of a body nobody reads is emptied: left alone it blocks the connection, cut off it keeps the client from this answer.
  if (!request.raw.readableEnded) request.raw.unpipe().resume()
  if (error.retryAfterSeconds !== undefined) reply.header('retry-after', String(error.retryAfterSeconds))
  return reply
    .code(status)
    .headers(error.headers)
    .header('x-request-id', request.id)
    .header('cache-control', 'no-store')
    .type(isSegminds(request) ? SEGMINDS_PROBLEM_TYPE : PROBLEM_TYPE)
    .send(JSON.stringify(problem))
}

function problemOf(error: GatewayError, request: FastifyRequest): Problem {
  const problem = toProblem(error, request.id)
  return isSegminds(request) ? inSegmindsWords(problem) : problem
}

/** Translates whatever was thrown. What nobody foresaw is a bug: `internal_error`, details in the log only. */
export function toGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  const { code = '', statusCode = 500 } = Object(error) as { code?: string; statusCode?: number }
  const known = FOREIGN[code]
  if (known) return new GatewayError(known[0], known[1], { cause: error })
  if (statusCode >= 400 && statusCode < 500)
    return new GatewayError('invalid_request', 'The request could not be read.', { cause: error })
  return new GatewayError(
    'internal_error',
    'Something went wrong inside the gateway; the request id finds it in the log.',
    { cause: error, billed: 'unknown' },
  )
}

/** A route's address as a pattern of whole paths: `:name` is one segment, `*` is any rest. */
function toPattern(url: string): RegExp {
  const source = url
    .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replace(/:[A-Za-z]\w*/g, '[^/]+')
    .replace(/\*/g, '.*')
  return new RegExp(`^${source}$`)
}
