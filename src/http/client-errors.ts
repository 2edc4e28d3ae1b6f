import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import { ERRORS, GatewayError, toProblem } from '../errors.js'
import { PROBLEM_TYPE } from './error-handler.js'
import type { Exchange, Exchanges } from './exchanges.js'

export interface ClientErrorParts {
  exchanges: Exchanges
  log: Pick<FastifyBaseLogger, 'info'>
}

/** What Node's parser calls it when a client says that nothing more will come, though more is due. */
const END_OF_CONNECTION = 'HPE_INVALID_EOF_STATE'

/**
 * Answers what is not HTTP, or no longer: a problem body, then the connection ends. Never ahead of an answer that is still due, which may be
 * about money: then the connection only ends after it.
 */
export function answerClientError(error: Error & { code?: string }, socket: Socket, parts: ClientErrorParts): void {
  if (error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  parts.exchanges.onBroken(socket, {
    // As Node has it for a whole request, too: who ends its half of the connection is not waited for.
    isGone: error.code === END_OF_CONNECTION,
    answer: cut => answer(problemOf(error), socket, { cut, reason: error.code, log: parts.log }),
    close: () => endAndClose(socket),
  })
}

/** `CONNECT`, which Node hands out apart from the requests, with a bare socket. */
export function refuseTunnel(socket: Socket, parts: ClientErrorParts): void {
  socket.on('error', () => socket.destroy())
  const problem = new GatewayError('method_not_allowed', 'The gateway is no proxy: no address takes CONNECT.', {
    headers: { allow: 'GET, HEAD, POST' },
  })
  parts.exchanges.onBroken(socket, {
    isGone: false,
    answer: () => answer(problem, socket, { cut: undefined, reason: 'CONNECT', log: parts.log }),
    close: () => endAndClose(socket),
  })
}

function problemOf({ code }: { code?: string }): GatewayError {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return new GatewayError('upload_timeout', 'The request did not arrive in time.')
  return new GatewayError('invalid_request', 'The request is not valid HTTP.')
}

/** A request that was cut has its own id and its own log line; anything else gets both here. */
function answer(
  problem: GatewayError,
  socket: Socket,
  { cut, reason, log }: { cut: Exchange | undefined; reason: string | undefined; log: ClientErrorParts['log'] },
): void {
  if (socket.destroyed || !socket.writable) {
    socket.destroy()
    return
  }
  const { status } = ERRORS[problem.code]
  const requestId = cut?.request.id ?? randomUUID()
  // After an end in the middle of a body hardly anybody is there to read this: for the log that client has left.
  if (cut && reason !== END_OF_CONNECTION) Object.assign(cut.request.facts, { error: problem.code, status })
  // Not the error itself: it holds what arrived, and with it a key.
  if (!cut) log.info({ requestId, status, code: problem.code, reason, address: socket.remoteAddress }, 'not a request')
  endAndClose(socket, onTheWire(problem, requestId))
}

/** Says the last words, then closes: a client that keeps its own half open must not keep what its request holds. */
function endAndClose(socket: Socket, lastWords = ''): void {
  socket.end(lastWords, () => socket.destroy())
}

const REASONS: Record<number, string> = { 400: 'Bad Request', 405: 'Method Not Allowed', 408: 'Request Timeout' }

function onTheWire(problem: GatewayError, requestId: string): string {
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
