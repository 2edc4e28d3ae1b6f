import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import { ERRORS, GatewayError, toProblem } from '../../contracts/errors.js'
import { PROBLEM_TYPE } from './error-handler.js'
import type { OpenRequests, RequestLifetime } from './open-requests.js'

export interface ClientErrorParts {
  openRequests: OpenRequests
  log: Pick<FastifyBaseLogger, 'info'>
}

/**
 * Code of Node's parser for a client that ends its half of the connection in the middle of a
 * request.
 */
const END_OF_CONNECTION = 'HPE_INVALID_EOF_STATE'
/** Code of Node for headers that did not arrive in time. */
const TIMEOUT = 'ERR_HTTP_REQUEST_TIMEOUT'

/**
 * Answers bytes that are not valid HTTP with a problem body, then ends the connection. A pending
 * response, which may be about a paid call, is sent first; then the connection only ends.
 */
export function answerClientError(error: Error & { code?: string }, socket: Socket, parts: ClientErrorParts): void {
  if (error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  parts.openRequests.onBroken(socket, {
    // As in Node: a client that has ended its half of the connection gets no further response.
    isGone: error.code === END_OF_CONNECTION,
    answer: cut => answer(problemOf(error), socket, { cut, reason: error.code, log: parts.log }),
    close: () => endAndClose(socket),
  })
}

/** Ends the connection of a body that arrives too slowly, with `upload_timeout`. */
export function endSlowUpload(socket: Socket, parts: ClientErrorParts): void {
  answerClientError(Object.assign(new Error('the body arrives too slowly'), { code: TIMEOUT }), socket, parts)
}

/** Refuses `CONNECT`, which Node emits apart from other requests, with a bare socket. */
export function refuseTunnel(socket: Socket, parts: ClientErrorParts): void {
  socket.on('error', () => socket.destroy())
  const problem = new GatewayError('method_not_allowed', 'The gateway is not a proxy and accepts no CONNECT.', {
    headers: { allow: 'GET, HEAD, POST' },
  })
  parts.openRequests.onBroken(socket, {
    isGone: false,
    answer: () => answer(problem, socket, { cut: undefined, reason: 'CONNECT', log: parts.log }),
    close: () => endAndClose(socket),
  })
}

/** Details of the parser's errors, by code. */
const DETAILS: Record<string, string> = {
  [END_OF_CONNECTION]: 'The connection ended before the request was complete.',
  HPE_HEADER_OVERFLOW: 'The URL and the headers are larger than 16 KiB.',
  HPE_INVALID_METHOD: 'The method is not known.',
  HPE_INVALID_CHUNK_SIZE: 'The size of a chunk is not valid.',
}

function problemOf({ code = '' }: { code?: string }): GatewayError {
  if (code === TIMEOUT) return new GatewayError('upload_timeout', 'The request did not arrive in time.')
  return new GatewayError('invalid_request', DETAILS[code] ?? 'The request is not valid HTTP.')
}

interface BrokenRequest {
  /** A request that was cut off has its own id and log line. Anything else gets both here. */
  cut: RequestLifetime | undefined
  reason: string | undefined
  log: ClientErrorParts['log']
}

function answer(problem: GatewayError, socket: Socket, { cut, reason, log }: BrokenRequest): void {
  if (socket.destroyed || !socket.writable) {
    socket.destroy()
    return
  }
  const { status } = ERRORS[problem.code]
  const requestId = cut?.request.id ?? randomUUID()
  // A client that ended the connection in the middle of a body has left, and is logged so.
  if (cut && reason !== END_OF_CONNECTION) Object.assign(cut.request.facts, { error: problem.code, status })
  // The error itself is not logged: it holds the received bytes, which may contain a key.
  if (!cut)
    log.info({ requestId, status, code: problem.code, reason, address: socket.remoteAddress }, 'invalid HTTP received')
  endAndClose(socket, toHttp(problem, requestId))
}

/**
 * Sends the last bytes, then closes both halves: a client that keeps its half open must not hold
 * memory.
 */
function endAndClose(socket: Socket, lastBytes = ''): void {
  socket.end(lastBytes, () => socket.destroy())
}

const REASONS: Record<number, string> = { 400: 'Bad Request', 405: 'Method Not Allowed', 408: 'Request Timeout' }

function toHttp(problem: GatewayError, requestId: string): string {
  const body = JSON.stringify(toProblem(problem, requestId))
  const { status } = ERRORS[problem.code]
  const head = [
    `HTTP/1.1 ${status} ${REASONS[status]}`,
    `Content-Type: ${PROBLEM_TYPE}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...Object.entries(problem.headers).map(([name, value]) => `${name}: ${value}`),
    `X-Request-Id: ${requestId}`,
    'Cache-Control: no-store',
    'Connection: close',
  ]
  return `${head.join('\r\n')}\r\n\r\n${body}`
}
