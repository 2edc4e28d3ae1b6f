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
import type { Finished, FinishedStory } from './http/facts.js'
import type { TraceContext } from './http/trace-context.js'
import { formatCredits } from './nanocredits.js'
import type { Story } from './segment/story.js'

/** Tells a tracing backend what became of requests. Nothing here delays or fails one. */
export interface Tracing {
  finished(finished: Finished, story?: FinishedStory): void
  /** Sends what waits. */
  close(): Promise<void>
}

/** What of the standard's environment says whether there are traces, and how they are sent; the rest is read by the library. */
export type OtelEnv = Readonly<Record<string, string | undefined>>

/**
 * Traces where the standard variables ask for them: `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set, or
 * `OTEL_TRACES_EXPORTER=otlp`; not with `OTEL_SDK_DISABLED=true`. Throws an `Error` for people where they ask for what is not here.
 */
export async function tracingOf(env: OtelEnv): Promise<Tracing | undefined> {
  const exporter = env.OTEL_TRACES_EXPORTER?.trim().toLowerCase() || undefined
  const isAsked = exporter ?? env.OTEL_EXPORTER_OTLP_ENDPOINT ?? env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
  if (!isAsked || exporter === 'none' || env.OTEL_SDK_DISABLED?.trim().toLowerCase() === 'true') return undefined
  if (exporter !== undefined && exporter !== 'otlp') throw new Error('OTEL_TRACES_EXPORTER takes otlp or none')
  const protocol = env.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL || env.OTEL_EXPORTER_OTLP_PROTOCOL || 'http/protobuf'
  return startTracing(await exporterFor(protocol.trim()))
}

async function exporterFor(protocol: string): Promise<SpanExporter> {
  if (protocol === 'http/protobuf')
    return new (await import('@opentelemetry/exporter-trace-otlp-proto')).OTLPTraceExporter()
  if (protocol === 'http/json') return new (await import('@opentelemetry/exporter-trace-otlp-http')).OTLPTraceExporter()
  throw new Error('OTEL_EXPORTER_OTLP_PROTOCOL takes http/protobuf or http/json')
}

/** The same with an exporter of one's own. */
export function startTracing(exporter: SpanExporter): Tracing {
  let next: string | undefined
  const random = new RandomIdGenerator()
  const provider = new BasicTracerProvider({
    resource: defaultResource()
      .merge(resourceFromAttributes({ 'service.name': 'segmind-gateway' }))
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor(exporter)],
    // The log has had the id of a trace that begins here since the request came.
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
      const tell = () => tellSteps(tracer, trace.setSpan(ROOT_CONTEXT, span), story.story)
      // What a request has begun may go on without it.
      if (story.story.work) story.story.work.then(tell, tell)
      else tell()
    },
    close: () => provider.shutdown(),
  }
}

/** The selections of a batch stand beside their request: each is told when it is over, and the request only after all of them. */
function requestSpan(tracer: Tracer, { method, route, trace: of, startedAt, selection }: Finished): Span {
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

/** By OpenTelemetry's names where it has one. Neither keys nor pictures. */
function describe(
  span: Span,
  { method, route, status, error, team, cache, requestId, selection }: Finished,
  story?: FinishedStory,
): void {
  const { charged, story: { question } = {} } = story ?? {}
  span.setAttributes({
    'http.request.method': method,
    'http.route': route,
    'http.response.status_code': status,
    'segmind_gateway.request_id': requestId,
    ...(selection !== undefined && { 'segmind_gateway.selection': selection }),
    ...(team !== '' && { 'segmind_gateway.team': team }),
    ...(cache !== '' && { 'segmind_gateway.cache': cache }),
    ...(question && { 'segmind_gateway.result_id': question.resultId }),
    ...(charged !== undefined && { 'segmind_gateway.cost_credits': formatCredits(charged) }),
    ...(error !== undefined && { 'error.type': error }),
  })
  if (status >= SERVER_ERROR)
    span.setStatus({ code: SpanStatusCode.ERROR, ...(error !== undefined && { message: error }) })
}

/** A span for each step, and below the call one for each attempt at Segmind. */
function tellSteps(tracer: Tracer, parent: Context, { steps, attempts, call, flight }: Story): void {
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
    if (name === 'call') tellAttempts(tracer, trace.setSpan(parent, span), startedAt, attempts)
    span.end(wallClock(endedAt))
  }
}

function tellAttempts(tracer: Tracer, parent: Context, calledAt: number, attempts: Story['attempts']): void {
  for (const { afterMs, durationMs, code, status } of attempts) {
    const startTime = wallClock(calledAt + afterMs)
    const span = tracer.startSpan('attempt at Segmind', { kind: SpanKind.CLIENT, startTime }, parent)
    if (status !== undefined) span.setAttribute('http.response.status_code', status)
    if (code !== 'ok') span.setAttribute('error.type', code).setStatus({ code: SpanStatusCode.ERROR, message: code })
    span.end(startTime + durationMs)
  }
}

/** Milliseconds since 1970 of a time by `performance.now()`. */
function wallClock(at: number): number {
  return performance.timeOrigin + at
}
