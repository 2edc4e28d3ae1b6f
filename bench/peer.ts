import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import multipart from '@fastify/multipart'
import fastify, { type FastifyInstance } from 'fastify'
import { LRUCache } from 'lru-cache'
import { Pool } from 'undici'
import { freeMemory } from '../src/images/byte-collector.js'
import { completeForm, emptyDraft } from '../src/input/form.js'
import { MultipartScanner, usualBoundary } from '../src/input/multipart-scanner.js'
import { segmentBody } from '../src/segmind/wire-request.js'

/**
 * A server to compare the gateway with, or the upstream: node peer.js MODE. Every response is the
 * same picture of 150 KB.
 * - `bare`: node:http, reads the body into one buffer
 * - `sha256`: likewise, and hashes it
 * - `fastify`: a route with a small JSON body
 * - `plain`: the plain way to cache by content: @fastify/multipart, SHA-256, lru-cache
 * - `pass`: the plain way to forward: @fastify/multipart, JSON, fetch
 * - `prototype`: the gateway's scanner and its body for Segmind, and nothing else of the gateway
 * - `upstream`: Segmind, without any work
 */
const [, , mode = 'bare', upstreamUrl = ''] = process.argv
const PICTURE_BYTES = 150_000
/** Credits for a call. */
const COST = 0.0017
const picture = wholePicture()
const HEADERS = { 'content-type': 'image/png', 'content-length': picture.length }
const BODY_LIMIT = 64 * 2 ** 20

if (mode === 'fastify') await listen(byId())
else if (mode === 'plain') await listen(await plainCache())
else if (mode === 'prototype') servePrototype()
else if (mode === 'pass') await listen(await plainForwarder())
else serveBare(mode)

/** Returns the picture in `BENCH_PICTURE` (base64), with bytes behind it up to its full length. */
function wholePicture(): Buffer {
  const bytes = Buffer.alloc(PICTURE_BYTES, 1)
  Buffer.from(process.env.BENCH_PICTURE ?? '', 'base64').copy(bytes)
  return bytes
}

function serveBare(kind: string): void {
  const isUpstream = kind === 'upstream'
  let calls = 0
  const remaining = () => (1_000 - calls * COST).toFixed(4)
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', chunk => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks)
      if (kind === 'sha256') createHash('sha256').update(body).digest('hex')
      if (isUpstream && request.method === 'GET') {
        response.writeHead(200, { 'content-type': 'application/json' }).end(`{"credits":${remaining()}}`)
        return
      }
      if (isUpstream) calls++
      const figures = isUpstream && { 'x-cost': COST, 'x-remaining-credits': remaining(), 'x-request-id': `r${calls}` }
      response.writeHead(200, { ...HEADERS, ...figures }).end(picture)
    })
  })
  server.listen(0, '127.0.0.1', () => announce(server.address()))
}

function byId(): FastifyInstance {
  const app = fastify()
  app.post('/segment', (_request, reply) => void reply.headers(HEADERS).send(picture))
  return app
}

async function plainCache(): Promise<FastifyInstance> {
  const app = fastify()
  await app.register(multipart, { limits: { fileSize: BODY_LIMIT } })
  const cache = new LRUCache<string, Buffer>({ max: 1_000 })
  app.post('/segment', async (request, reply) => {
    const hash = createHash('sha256')
    for await (const part of request.parts())
      hash.update(part.type === 'file' ? await part.toBuffer() : `${part.value}`)
    const key = hash.digest('hex')
    if (!cache.has(key)) cache.set(key, picture)
    return reply.headers(HEADERS).send(cache.get(key))
  })
  return app
}

async function plainForwarder(): Promise<FastifyInstance> {
  const app = fastify()
  await app.register(multipart, { limits: { fileSize: BODY_LIMIT } })
  app.post('/segment', async (request, reply) => {
    const body: Record<string, unknown> = {}
    for await (const part of request.parts())
      body[part.fieldname] = part.type === 'file' ? (await part.toBuffer()).toString('base64') : part.value
    const response = await fetch(upstreamUrl, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return reply.headers(HEADERS).send(Buffer.from(await response.arrayBuffer()))
  })
  return app
}

/** Scans, hashes, encodes, sends and answers, with nothing booked, kept or logged. */
function servePrototype(): void {
  const pool = new Pool(upstreamUrl)
  const server = createServer((request, response) => {
    const draft = emptyDraft({ maxImageBytes: BODY_LIMIT })
    const boundary = usualBoundary(request.headers['content-type']) ?? ''
    const scanner = new MultipartScanner(boundary, draft, { ownsChunks: true })
    request.on('data', chunk => scanner.push(chunk))
    request.on('end', async () => {
      const { image, fields } = completeForm(scanner.finish())
      if (image.kind !== 'bytes') throw new Error('the upload has no image')
      const sent = segmentBody(image.image, { prompt: String(fields.prompt), overlayMask: false }).encode()
      image.image.release?.()
      const headers = { 'content-type': 'application/json' }
      const { body } = await pool.request({ method: 'POST', path: '/', headers, body: sent })
      const answer = Buffer.from(await body.arrayBuffer())
      freeMemory(sent)
      response.writeHead(200, { ...HEADERS, 'content-length': answer.length }).end(answer)
    })
  })
  server.listen(0, '127.0.0.1', () => announce(server.address()))
}

async function listen(app: FastifyInstance): Promise<void> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  announce(app.server.address())
}

function announce(address: ReturnType<FastifyInstance['server']['address']>): void {
  console.log(
    JSON.stringify({ msg: 'listening', url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}` }),
  )
}
