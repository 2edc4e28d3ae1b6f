import type { FastifyBaseLogger, FastifyContextConfig, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type ErrorCode, GatewayError } from '../../contracts/errors.js'
import { formatCredits, type Nanocredits } from '../../contracts/nanocredits.js'
import type { FinishedRequest, TraceContext } from '../../contracts/records.js'
import type { Caller } from '../../contracts/types.js'
import type { Story } from '../../segment/story.js'
import { clientAddress } from './client-address.js'
import type { OpenRequests, RequestLifetime } from './open-requests.js'
import { newTrace, readTraceparent } from './request-ids.js'

/**
 * Facts collected about one request, for its log line, the metrics and the trace. Never holds a key
 * or an image.
 */
export interface RequestFacts {
  /** By `performance.now()`. */
  startedAt: number
  /** Client address. Wrong keys are counted by it. */
  address: string
  /** The route's pattern; `none` where no route matched. */
  route: string
  /** Kept, because Fastify builds all options of a route each time they are read. */
  config: FastifyContextConfig
  caller: Caller | undefined
  error: ErrorCode | undefined
  /**
   * Status of a response written straight to the socket, because the request never arrived in full.
   */
  status: number | undefined
  cache: string | undefined
  charged: Nanocredits | undefined
  resultId: string | undefined
  uploadBytes: number
  uploadMs: number | undefined
  cacheMs: number | undefined
  upstreamMs: number
  /** Present on requests that can be explained later. */
  story: Story | undefined
  trace: TraceContext | undefined
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Number of requests that are being received or answered. */
    openRequests(): number
  }
  interface FastifyRequest {
    facts: RequestFacts
  }
}

/** `story` is present on requests and selections that can be explained. */
export interface RequestObserver {
  requestFinished(request: FinishedRequest, story?: Story): void
  /** Called for each selection of a batch, before its request. */
  selectionFinished(selection: FinishedRequest, story?: Story): void
}

export interface RequestFactsParts {
  openRequests: OpenRequests
  observer: Pick<RequestObserver, 'requestFinished'>
  /** Gets one line for each request. */
  requestLog: FastifyBaseLogger
  /**
   * Starts a trace for every request. When false, only a caller's `traceparent` makes a request
   * part of a trace.
   */
  isTraced: boolean
  /** Marks every response with `x-sandbox`. */
  isSandbox: boolean
}

export function decorateFacts(app: FastifyInstance, openRequests: OpenRequests): void {
  app.decorate('openRequests', () => openRequests.count)
  app.decorateRequest('facts', null as unknown as RequestFacts)
  app.decorateRequest('lifetime', null as unknown as RequestLifetime)
}

/**
 * Gives a request its facts, its lifetime and its `X-Request-Id`. When it ends, it gets one log
 * line and one call of `requestFinished`. Also called for requests with an unreadable URL, for
 * which Fastify runs no hook.
 */
export function beginFacts(request: FastifyRequest, reply: FastifyReply, parts: RequestFactsParts): void {
  const { url = 'none', config } = request.routeOptions
  request.facts = newFacts({ address: clientAddress(request), route: url, config })
  const trace = readTraceparent(request.headers.traceparent) ?? (parts.isTraced ? newTrace() : undefined)
  if (trace) addTrace(request, trace)
  reply.header('x-request-id', request.id)
  if (parts.isSandbox) reply.header('x-sandbox', 'true')
  request.lifetime = parts.openRequests.begin(request, reply)
  request.lifetime.onEnd(() => finish(request, reply, parts))
}

/** Has every member from the start, so that all facts have one shape. */
export function newFacts({ address, route, config }: Pick<RequestFacts, 'address' | 'route' | 'config'>): RequestFacts {
  return {
    startedAt: performance.now(),
    address,
    route,
    config,
    caller: undefined,
    error: undefined,
    status: undefined,
    cache: undefined,
    charged: undefined,
    resultId: undefined,
    uploadBytes: 0,
    uploadMs: undefined,
    cacheMs: undefined,
    upstreamMs: 0,
    story: undefined,
    trace: undefined,
  }
}

/** Adds the trace id to every later log line of this request. */
function addTrace(request: FastifyRequest, trace: TraceContext): void {
  request.facts.trace = trace
  request.log = request.log.child(traceFields(trace))
}

function traceFields({ traceId, parentId }: TraceContext): object {
  return { traceId, parentSpanId: parentId }
}

/** Returns the authenticated caller. */
export function callerOf(request: FastifyRequest): Caller {
  const { caller } = request.facts
  if (!caller) throw new GatewayError('internal_error', 'The request reached its route without authentication.')
  return caller
}

/** Logged and counted, as by nginx, when a client disconnects before its response. */
const CLIENT_CLOSED_REQUEST = 499

function finish(request: FastifyRequest, reply: FastifyReply, { observer, requestLog }: RequestFactsParts): void {
  const { facts } = request
  const status = facts.status ?? (reply.raw.writableFinished ? reply.statusCode : CLIENT_CLOSED_REQUEST)
  const finished = toFinished(request, request.id, facts, status)
  observer.requestFinished(finished, facts.story)
  requestLog.info(
    {
      requestId: request.id,
      traceId: facts.trace?.traceId,
      parentSpanId: facts.trace?.parentId,
      method: request.method,
      route: finished.route,
      status,
      ...logFields(facts, finished.durationMs),
      team: facts.caller?.team.id,
      keyId: facts.caller?.keyId,
      uploadBytes: facts.uploadBytes || undefined,
      address: facts.address,
    },
    'request',
  )
}

/** Log fields that requests and selections of a batch have in common. */
export function logFields(
  { error, cache, charged, resultId }: Pick<RequestFacts, 'error' | 'cache' | 'charged' | 'resultId'>,
  durationMs: number,
): object {
  return {
    ms: Math.round(durationMs * 10) / 10,
    code: error,
    cache,
    cost: charged === undefined ? undefined : formatCredits(charged),
    resultId,
  }
}

/** Records a request that ends now, or a selection of a batch with its own id. */
export function toFinished(
  request: FastifyRequest,
  requestId: string,
  facts: RequestFacts,
  status: number,
): FinishedRequest {
  const { startedAt, trace, route, caller, error, cache = '', charged } = facts
  const { uploadMs, cacheMs, upstreamMs, uploadBytes } = facts
  return {
    requestId,
    isNewId: request.headers['x-request-id'] !== request.id,
    method: request.method,
    startedAt,
    trace,
    route,
    team: caller?.team.id ?? '',
    keyId: caller?.keyId,
    status,
    error,
    cache,
    charged,
    durationMs: performance.now() - startedAt,
    uploadMs,
    cacheMs,
    upstreamMs,
    uploadBytes,
    isTest: caller?.isTest,
  }
}
