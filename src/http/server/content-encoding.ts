import type { FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../../contracts/errors.js'

const IDENTITY = /^\s*(identity)?\s*$/i
const CHUNKED = /^\s*chunked\s*$/i

/** Throws `unsupported_content_type` for a compressed body, before any of it is read. */
export function refuseEncodedBody(request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
  if (isEncoded(request)) throw encodedBody()
  done()
}

function isEncoded({ method, headers, is404 }: FastifyRequest): boolean {
  if (is404 || method === 'GET' || method === 'HEAD') return false
  const { 'content-encoding': encoding, 'transfer-encoding': framing } = headers
  const isIdentity = encoding === undefined || IDENTITY.test(encoding)
  return !isIdentity || (framing !== undefined && !CHUNKED.test(framing))
}

function encodedBody(): GatewayError {
  return new GatewayError('unsupported_content_type', 'Send the body without Content-Encoding, not compressed.')
}
