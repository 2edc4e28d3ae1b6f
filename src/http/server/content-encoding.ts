import type { FastifyRequest } from 'fastify'
import { GatewayError } from '../../contracts/errors.js'

const IDENTITY = /^\s*(identity)?\s*$/i
const CHUNKED = /^\s*chunked\s*$/i

/** Throws `unsupported_content_type` for a compressed body, before any of it is read. */
export async function refuseEncodedBody({ method, headers, is404 }: FastifyRequest): Promise<void> {
  if (is404 || method === 'GET' || method === 'HEAD') return
  const { 'content-encoding': encoding = '', 'transfer-encoding': framing = 'chunked' } = headers
  if (IDENTITY.test(encoding) && CHUNKED.test(framing)) return
  throw new GatewayError('unsupported_content_type', 'Send the body without Content-Encoding, not compressed.')
}
