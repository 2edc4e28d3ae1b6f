import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ErrorCode } from '../errors.js'
import { formatCredits, type Nanocredits } from '../nanocredits.js'
import type { Caller } from '../segment/types.js'

/** What became known about one request on its way: for its log line and the metrics. Never a key, never an image. */
export interface Facts {
  startedAt: number
  caller?: Caller
  error?: ErrorCode
  cache?: string
  charged?: Nanocredits
  resultId?: string
  uploadBytes: number
  upstreamMs: number
}

declare module 'fastify' {
  interface FastifyRequest {
    facts: Facts
  }
}

/** One finished request, as the metrics want it. */
export interface Finished {
  route: string
  team: string
  status: number
  error?: string
  cache: string
  durationMs: number
  upstreamMs: number
  uploadBytes: number
}

/** Gives every request its facts, its `X-Request-Id`, one log line when it is over, and one call of `onFinished`. */
export function addFacts(app: FastifyInstance, onFinished: (finished: Finished) => void): void {
  app.decorateRequest('facts', null as unknown as Facts)
  app.addHook('onRequest', async (request, reply) => beginFacts(request, reply, onFinished))
}

/** The same for a request that no hook sees, because its URL cannot be read. */
export function beginFacts(request: FastifyRequest, reply: FastifyReply, onFinished: (finished: Finished) => void) {
  request.facts = { startedAt: performance.now(), uploadBytes: 0, upstreamMs: 0 }
  reply.header('x-request-id', request.id)
  // `close` comes for every request, also for one whose client left before the answer (`onResponse` does not).
  reply.raw.once('close', () => finish(request, reply, onFinished))
}

/** What is counted and logged for a client that left before its answer, after nginx's custom. */
const CLIENT_LEFT = 499

function finish(request: FastifyRequest, reply: FastifyReply, onFinished: (finished: Finished) => void): void {
  const { facts } = request
  const durationMs = performance.now() - facts.startedAt
  const route = request.routeOptions.url ?? 'none'
  const status = reply.raw.writableFinished ? reply.statusCode : CLIENT_LEFT
  onFinished({
    route,
    team: facts.caller?.team.id ?? '',
    status,
    ...(facts.error ? { error: facts.error } : {}),
    cache: facts.cache ?? '',
    durationMs,
    upstreamMs: facts.upstreamMs,
    uploadBytes: facts.uploadBytes,
  })
  request.log.info(
    {
      method: request.method,
      route,
      status,
      ms: Math.round(durationMs * 10) / 10,
      team: facts.caller?.team.id,
      keyId: facts.caller?.keyId,
      code: facts.error,
      cache: facts.cache,
      cost: facts.charged === undefined ? undefined : formatCredits(facts.charged),
      resultId: facts.resultId,
      uploadBytes: facts.uploadBytes || undefined,
      address: request.ip,
    },
    'request',
  )
}
