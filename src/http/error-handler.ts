import type { Socket } from 'node:net'
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ERRORS, type ErrorCode, GatewayError, toProblem } from '../errors.js'

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

/** The one place that answers errors: every failure becomes a problem body (RFC 9457) of SPEC §6. */
export function addErrorHandler(app: FastifyInstance): void {
  const routes: { path: RegExp; methods: string[] }[] = []
  app.addHook('onRoute', ({ url, method }) => {
    routes.push({ path: toPattern(url), methods: [method].flat() })
  })
  app.setErrorHandler((error, request, reply) => sendProblem(toGatewayError(error), request, reply))
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] ?? '/'
    const allowed = [...new Set(routes.filter(route => route.path.test(path)).flatMap(route => route.methods))].sort()
    const error =
      allowed.length > 0 && !allowed.includes(request.method)
        ? new GatewayError('method_not_allowed', `This address takes ${allowed.join(', ')}.`, {
            headers: { allow: allowed.join(', ') },
          })
        : new GatewayError('not_found', 'There is nothing at this address.')
    return sendProblem(error, request, reply)
  })
}

/** Says an error as an answer; the cause goes to the log only. */
export function sendProblem(error: GatewayError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status } = ERRORS[error.code]
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
    .type(PROBLEM_TYPE)
    .send(JSON.stringify(toProblem(error, request.id)))
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

/** Answers what is not even HTTP, before Fastify sees a request: a problem body, then the connection ends. */
export function answerClientError(
  error: Error & { code?: string },
  socket: Socket,
  { requestId, log }: { requestId: string; log: Pick<FastifyBaseLogger, 'info'> },
): void {
  if (error.code === 'ECONNRESET' || socket.destroyed || !socket.writable) {
    socket.destroy()
    return
  }
  const problem =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? new GatewayError('upload_timeout', 'The request did not arrive in time.')
      : new GatewayError('invalid_request', 'The request is not valid HTTP.')
  const body = JSON.stringify(toProblem(problem, requestId))
  const { status } = ERRORS[problem.code]
  // Not the error itself: it holds what arrived, and with it a key.
  log.info(
    { requestId, status, code: problem.code, reason: error.code, address: socket.remoteAddress },
    'not a request',
  )
  const head = [
    `HTTP/1.1 ${status} ${status === 408 ? 'Request Timeout' : 'Bad Request'}`,
    `Content-Type: ${PROBLEM_TYPE}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-Id: ${requestId}`,
    'Cache-Control: no-store',
    'Connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}

/** A route's address as a pattern of whole paths: `:name` is one segment, `*` is any rest. */
function toPattern(url: string): RegExp {
  const source = url
    .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replace(/:[A-Za-z]\w*/g, '[^/]+')
    .replace(/\*/g, '.*')
  return new RegExp(`^${source}$`)
}
