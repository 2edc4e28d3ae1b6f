import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  RandomIdGenerator,
  type SpanExporter,
} from '@opentelemetry/sdk-trace-base'
import { defined } from '../contracts/defined.js'
import { formatCredits } from '../contracts/nanocredits.js'
import type { FinishedRequest, TraceContext } from '../contracts/records.js'
import type { Story } from '../segment/story.js'

/** Reports finished requests to a tracing backend. Never delays or fails a request. */
export interface Tracing {
  finished(finished: FinishedRequest, story?: Story): void
  /** Sends pending spans. */
  close(): Promise<void>
}

/** Standard environment variables that select the exporter. The library reads the others. */
export type OtelEnv = Readonly<Record<string, string | undefined>>

/**
 * Starts tracing if `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set,
 * or `OTEL_TRACES_EXPORTER=otlp`, unless `OTEL_SDK_DISABLED=true`. Throws an `Error` for the
 * operator when a variable requests an unsupported exporter or protocol.
 */
export async function tracingFromEnv(env: OtelEnv): Promise<Tracing | undefined> {
  const exporter = env.OTEL_TRACES_EXPORTER?.trim().toLowerCase() || undefined
  const isRequested = exporter ?? env.OTEL_EXPORTER_OTLP_ENDPOINT ?? env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
  if (!isRequested || exporter === 'none' || env.OTEL_SDK_DISABLED?.trim().toLowerCase() === 'true') return undefined
  if (exporter !== undefined && exporter !== 'otlp') throw new Error('OTEL_TRACES_EXPORTER must be otlp or none')
  const protocol = env.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL || env.OTEL_EXPORTER_OTLP_PROTOCOL || 'http/protobuf'
  return startTracing(await exporterFor(protocol.trim()))
}

async function exporterFor(protocol: string): Promise<SpanExporter> {
  if (protocol === 'http/protobuf')
    return new (await import('@opentelemetry/exporter-trace-otlp-proto')).OTLPTraceExporter()
  if (protocol === 'http/json') return new (await import('@opentelemetry/exporter-trace-otlp-http')).OTLPTraceExporter()
  throw new Error('OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf or http/json')
}

/** Starts tracing with the given exporter. */
export function startTracing(exporter: SpanExporter): Tracing {
  let next: string | undefined
  const random = new RandomIdGenerator()
  const provider = new BasicTracerProvider({
    resource: defaultResource()
      .merge(resourceFromAttributes({ 'service.name': 'segmind-gateway' }))
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor(exporter)],
    // A trace that starts here uses the id that the log has used since the request arrived.
    idGenerator: {
      generateTraceId: () => next ?? random.generateTraceId(),
      generateSpanId: () => random.generateSpanId(),
    },
  })
  const tracer = provider.getTracer('segmind-gateway')
  return {
    finished(finished, story) {
      next = finished.trace?.traceId
      const span = requestSpan(tracer, finished)
      next = undefined
      describe(span, finished, story)
      span.end(wallClock(finished.startedAt + finished.durationMs))
      if (!story) return
      const reportSteps = () => addSteps(tracer, trace.setSpan(ROOT_CONTEXT, span), story)
      // Work that the request started may outlive it.
      if (story.work) story.work.then(reportSteps, reportSteps)
      else reportSteps()
    },
    close: () => provider.shutdown(),
  }
}

/**
 * Creates the span of a request or batch selection. Selections are siblings of their request,
 * because they end before it.
 */
function requestSpan(tracer: Tracer, { method, route, trace: of, startedAt, selection }: FinishedRequest): Span {
  const [name, kind] =
    selection === undefined ? [`${method} ${route}`, SpanKind.SERVER] : ['selection', SpanKind.INTERNAL]
  return tracer.startSpan(name, { kind, startTime: wallClock(startedAt) }, parentOf(of))
}

function parentOf({ traceId, parentId, isSampled }: TraceContext = { traceId: '' }): Context {
  if (parentId === undefined) return ROOT_CONTEXT
  const traceFlags = isSampled ? TraceFlags.SAMPLED : TraceFlags.NONE
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId: parentId, traceFlags, isRemote: true })
}

const SERVER_ERROR = 500

/**
 * Sets attributes, with OpenTelemetry's names where they exist. Never includes keys or pictures.
 */
function describe(
  span: Span,
  { method, route, status, error, team, cache, charged, requestId, selection }: FinishedRequest,
  story?: Story,
): void {
  span.setAttributes({
    'http.request.method': method,
    'http.route': route,
    'http.response.status_code': status,
    'segmind_gateway.request_id': requestId,
    ...defined({
      'segmind_gateway.selection': selection,
      'segmind_gateway.team': team || undefined,
      'segmind_gateway.cache': cache || undefined,
      'segmind_gateway.result_id': story?.question?.resultId,
      'segmind_gateway.cost_credits': story && charged !== undefined ? formatCredits(charged) : undefined,
      'error.type': error,
    }),
  })
  if (status >= SERVER_ERROR) span.setStatus({ code: SpanStatusCode.ERROR, ...defined({ message: error }) })
}

/** Adds a span for each step and, below the call, one for each request to Segmind. */
function addSteps(tracer: Tracer, parent: Context, { steps, attempts, call, flight }: Story): void {
  for (const { name, startedAt, endedAt, error } of steps) {
    const attributes: Attributes = {
      ...(name === 'call' &&
        call && { 'segmind_gateway.call_id': call.callId, 'segmind_gateway.purchase': call.purchase }),
      ...(name === 'follow' &&
        flight?.leader?.requestId && { 'segmind_gateway.leader_request_id': flight.leader.requestId }),
      ...(error !== undefined && { 'error.type': error }),
    }
    const span = tracer.startSpan(name, { startTime: wallClock(startedAt), attributes }, parent)
    if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error })
    if (name === 'call') addAttempts(tracer, trace.setSpan(parent, span), startedAt, attempts)
    span.end(wallClock(endedAt))
  }
}

function addAttempts(tracer: Tracer, parent: Context, calledAt: number, attempts: Story['attempts']): void {
  for (const { afterMs, durationMs, code, status } of attempts) {
    const startTime = wallClock(calledAt + afterMs)
    const span = tracer.startSpan('attempt at Segmind', { kind: SpanKind.CLIENT, startTime }, parent)
    if (status !== undefined) span.setAttribute('http.response.status_code', status)
    if (code !== 'ok') span.setAttribute('error.type', code).setStatus({ code: SpanStatusCode.ERROR, message: code })
    span.end(startTime + durationMs)
  }
}

/** Converts a time of `performance.now()` to milliseconds since 1970. */
function wallClock(at: number): number {
  return performance.timeOrigin + at
}
