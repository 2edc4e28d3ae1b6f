import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { acceptsEncoding } from './accept-encoding.js'

const compress = promisify(gzip)

/** Sends a large JSON value, compressed off the main thread where the client accepts gzip. */
export async function sendGzip(request: FastifyRequest, reply: FastifyReply, value: unknown): Promise<FastifyReply> {
  reply.header('vary', 'accept-encoding').type('application/json; charset=utf-8')
  const text = JSON.stringify(value)
  if (!acceptsEncoding(request, 'gzip')) return reply.send(text)
  return reply.header('content-encoding', 'gzip').send(await compress(text))
}
