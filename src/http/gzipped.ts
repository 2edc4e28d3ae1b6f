import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { FastifyReply, FastifyRequest } from 'fastify'

const compress = promisify(gzip)
const TAKES_GZIP = /(?:^|,)\s*gzip\s*(?:,|$|;\s*q=(?:1|0?\.\d*[1-9]))/i

/** Sends JSON that is long and repeats itself: compressed, off the main thread, for callers that take that. */
export async function sendGzipped(request: FastifyRequest, reply: FastifyReply, value: unknown): Promise<FastifyReply> {
  reply.header('vary', 'accept-encoding').type('application/json; charset=utf-8')
  const text = JSON.stringify(value)
  if (!TAKES_GZIP.test(request.headers['accept-encoding'] ?? '')) return reply.send(text)
  return reply.header('content-encoding', 'gzip').send(await compress(text))
}
