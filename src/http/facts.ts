import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type ErrorCode, GatewayError } from '../errors.js'
import { formatCredits, type Nanocredits } from '../nanocredits.js'
import type { Story } from '../segment/story.js'
import type { Caller } from '../segment/types.js'
import { addressOf } from './address.js'
import type { Exchange, Exchanges } from './exchanges.js'
import { newTrace, readTraceparent, type TraceContext } from './trace-context.js'

/** What became known about one request on its way: for its log line and the metrics. Never a key, never an image. */
export interface Facts {
  startedAt: number
  /** Whose it is, for counting wrong keys: never more than an address. */
  address: string
  caller?: Caller
  error?: ErrorCode
  /** Of an answer that went out past the reply, because the request was never whole. */
  status?: number
  cache?: string
  charged?: Nanocredits
  resultId?: string
  uploadBytes: number
  uploadMs?: number
  cacheMs?: number
  upstreamMs: number
  /** How it came about, of a request that may be explained later. */
  story?: Story
  /** Of which trace it is a part; for the log and the trace itself. */
  trace?: TraceContext
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Requests that are being received or answered. */
    requestsUnderWay(): number
  }
  interface FastifyRequest {
    facts: Facts
  }
}

/** One finished request, as the figures want it. */
export interface Finished {
  requestId: string
  method: string
  /** By `performance.now()`. */
  startedAt: number
  trace?: TraceContext
  route: string
  team: string
  status: number
  error?: string
  cache: string
  durationMs: number
  upstreamMs: number
  uploadBytes: number
  /** With a test key: what went wrong may be made up. */
  isTest?: boolean
  /** Of which selection of a batch this is told; else of a whole request. */
  selection?: number
}

/** A finished request with its story: what it takes to explain it. Durations in milliseconds. */
export interface FinishedStory {
  requestId: string
  route: string
  team: string
  keyId: string
  status: number
  /** The error code, absent on success. */
  error?: string
  how?: string
  charged?: Nanocredits
  durationMs: number
  uploadMs?: number
  cacheMs?: number
  upstreamMs: number
  story: Story
}

export interface FactsParts {
  exchanges: Exchanges
  /** `story` where the request may be explained. */
  onFinished(finished: Finished, story?: FinishedStory): void
  /** Every request is part of a trace; else those are whose callers say so. */
  isTraced: boolean
}

/** Gives every request its facts, its `X-Request-Id`, one log line when it is over, and one call of `onFinished`. */
export function addFacts(app: FastifyInstance, parts: FactsParts): void {
  app.decorate('requestsUnderWay', () => parts.exchanges.underWay)
  app.decorateRequest('facts', null as unknown as Facts)
  app.decorateRequest('exchange', null as unknown as Exchange)
  app.addHook('onRequest', async (request, reply) => beginFacts(request, reply, parts))
}

/** The same for a request that no hook sees, because its URL cannot be read. */
export function beginFacts(request: FastifyRequest, reply: FastifyReply, parts: FactsParts): void {
  const { exchanges } = parts
  request.facts = { startedAt: performance.now(), address: addressOf(request), uploadBytes: 0, upstreamMs: 0 }
  noteTrace(request, parts.isTraced)
  reply.header('x-request-id', request.id)
  request.exchange = exchanges.begin(request, reply)
  request.exchange.whenOver(() => finish(request, reply, parts))
}

/** From here on every line of the log about this request has the id of its trace. */
function noteTrace(request: FastifyRequest, isTraced: boolean): void {
  const trace = readTraceparent(request.headers.traceparent) ?? (isTraced ? newTrace() : undefined)
  if (!trace) return
  request.facts.trace = trace
  request.log = request.log.child({ traceId: trace.traceId, ...(trace.parentId && { parentSpanId: trace.parentId }) })
}

/** Whose request it is, behind a door that asked for a key. */
export function callerOf(request: FastifyRequest): Caller {
  const { caller } = request.facts
  if (!caller) throw new GatewayError('internal_error', 'A request reached its route before it was known whose it is.')
  return caller
}

/** What is counted and logged for a client that left before its answer, after nginx's custom. */
const CLIENT_LEFT = 499

function finish(request: FastifyRequest, reply: FastifyReply, { onFinished }: FactsParts): void {
  const { facts } = request
  const status = facts.status ?? (reply.raw.writableFinished ? reply.statusCode : CLIENT_LEFT)
  const { finished, story } = finishedOf(request, request.id, { ...facts, status })
  onFinished(finished, story)
  request.log.info(
    {
      method: request.method,
      route: finished.route,
      status,
      ...loggedOf(facts, finished.durationMs),
      team: facts.caller?.team.id,
      keyId: facts.caller?.keyId,
      uploadBytes: facts.uploadBytes || undefined,
      address: facts.address,
    },
    'request',
  )
}

/** What is the same of every line about something that is over. */
export function loggedOf(facts: Pick<Facts, 'error' | 'cache' | 'charged' | 'resultId'>, durationMs: number): object {
  return {
    ms: Math.round(durationMs * 10) / 10,
    code: facts.error,
    cache: facts.cache,
    cost: facts.charged === undefined ? undefined : formatCredits(facts.charged),
    resultId: facts.resultId,
  }
}

/** A request that is over now, or a part of it that has an id of its own; with its story where it has one. */
export function finishedOf(
  request: FastifyRequest,
  requestId: string,
  facts: Facts & { status: number },
): { finished: Finished; story?: FinishedStory } {
  const { startedAt, trace, caller, error, cache, upstreamMs, uploadBytes, status } = facts
  const durationMs = performance.now() - startedAt
  const route = request.routeOptions.url ?? 'none'
  const finished: Finished = {
    ...{ requestId, method: request.method, startedAt, route, team: caller?.team.id ?? '', status },
    ...(trace && { trace }),
    ...(error && { error }),
    ...(caller?.isTest && { isTest: true }),
    ...{ cache: cache ?? '', durationMs, upstreamMs, uploadBytes },
  }
  if (!facts.story || !caller) return { finished }
  return { finished, story: storyOf(requestId, { ...facts, route, durationMs }, facts.story) }
}

function storyOf(
  requestId: string,
  facts: Facts & { route: string; status: number; durationMs: number },
  story: Story,
): FinishedStory {
  const { route, status, durationMs, uploadMs, cacheMs, upstreamMs, caller, error, cache, charged } = facts
  return {
    ...{ requestId, route, status, durationMs, upstreamMs, story },
    team: caller?.team.id ?? '',
    keyId: caller?.keyId ?? '',
    ...(error !== undefined && { error }),
    ...(cache !== undefined && { how: cache }),
    ...(charged !== undefined && { charged }),
    ...(uploadMs !== undefined && { uploadMs }),
    ...(cacheMs !== undefined && { cacheMs }),
  }
}
