import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { SpanKind } from '@opentelemetry/api'
import { InMemorySpanExporter, type ReadableSpan } from '@opentelemetry/sdk-trace-base'
import t, { type Test } from 'tap'
import { startTracing, tracingFromEnv } from '../../src/telemetry/tracing.js'
import { smallJpeg } from '../fixtures/odd-images.js'
import { startTestGateway, type TestGateway } from '../support/gateway/gateway.js'

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c'
const SPAN_ID = 'b7ad6b7169203331'

/** A gateway whose spans are kept, and exported when it has stopped. */
async function traced(t: Test, use: (gateway: TestGateway) => Promise<void>): Promise<ReadableSpan[]> {
  const exporter = new InMemorySpanExporter()
  const kept: ReadableSpan[] = []
  const collecting = {
    export: (spans: ReadableSpan[], done: (result: { code: number }) => void) => {
      kept.push(...spans)
      done({ code: 0 })
    },
    shutdown: () => exporter.shutdown(),
    forceFlush: async () => {},
  }
  const tracing = startTracing(collecting)
  const gateway = await startTestGateway({ tracing })
  t.teardown(gateway.stop)
  await use(gateway)
  await gateway.stop()
  await tracing.close()
  return kept
}

const named = (spans: ReadableSpan[], name: string) => spans.filter(span => span.name === name)
const indexOf = ({ attributes }: ReadableSpan) => Number(attributes['segmind_gateway.selection'])
const millis = ([seconds, nanos]: [number, number]) => seconds * 1000 + nanos / 1e6

t.test('a purchase has a span for each step below the request, and for each attempt below the call', async t => {
  const spans = await traced(t, async gateway => {
    gateway.upstream.script({ status: 500 }, {})
    await gateway.segment({ prompt: 'dog', output: 'overlay' })
  })
  const [request] = named(spans, 'POST /segment')
  t.match(request, {
    kind: SpanKind.SERVER,
    attributes: {
      'http.route': '/segment',
      'http.response.status_code': 200,
      'segmind_gateway.team': 'vision',
      'segmind_gateway.cache': 'miss',
      'segmind_gateway.cost_credits': '0.0017',
      'segmind_gateway.result_id': /^[0-9a-f]{64}$/,
    },
  })
  const steps = spans.filter(span => span.parentSpanContext?.spanId === request?.spanContext().spanId)
  t.strictSame(steps.map(({ name }) => name).sort(), [
    'book and keep',
    'call',
    'check image',
    'look',
    'look',
    'queue',
    'receive',
    'reserve',
    'shape',
  ])
  for (const span of spans) t.equal(span.spanContext().traceId, request?.spanContext().traceId)
  const [call] = named(spans, 'call')
  const attempts = named(spans, 'attempt at Segmind')
  t.match(attempts, [
    { kind: SpanKind.CLIENT, attributes: { 'http.response.status_code': 500, 'error.type': 'upstream_failed' } },
    { attributes: { 'http.response.status_code': 200 } },
  ])
  for (const attempt of attempts) t.equal(attempt.parentSpanContext?.spanId, call?.spanContext().spanId)
  if (!request) return
  for (const step of steps) {
    t.ok(millis(step.startTime) >= millis(request.startTime) - 1, `${step.name} begins within the request`)
    t.ok(millis(step.endTime) <= millis(request.endTime) + 1, `${step.name} ends within the request`)
  }
})

t.test('each selection of a batch has its steps, in the trace of its request', async t => {
  const spans = await traced(t, async gateway => {
    const body = JSON.stringify({
      image: (await smallJpeg()).toString('base64'),
      selections: [{ prompt: 'dog' }, { prompt: 'cat' }, { prompt: '' }],
    })
    const headers = {
      'content-type': 'application/json',
      accept: 'application/x-ndjson',
      traceparent: `00-${TRACE_ID}-${SPAN_ID}-01`,
    }
    await (await gateway.fetch('/segment/batch', { method: 'POST', headers, body })).text()
  })
  const selections = named(spans, 'selection').sort((one, other) => indexOf(one) - indexOf(other))
  t.match(selections, [
    { kind: SpanKind.INTERNAL, attributes: { 'segmind_gateway.selection': 0, 'segmind_gateway.cache': 'miss' } },
    { attributes: { 'segmind_gateway.selection': 1, 'segmind_gateway.cost_credits': '0.0017' } },
    { attributes: { 'segmind_gateway.selection': 2, 'error.type': 'missing_selection' } },
  ])
  for (const span of spans) t.equal(span.spanContext().traceId, TRACE_ID)
  t.equal(named(spans, 'POST /segment/batch').length, 1)
  for (const selection of selections.slice(0, 2)) {
    const steps = spans.filter(span => span.parentSpanContext?.spanId === selection.spanContext().spanId)
    t.equal(named(steps, 'call').length, 1)
  }
})

t.test('the trace of the caller continues in spans and in the log', async t => {
  let log: Record<string, unknown> | undefined
  const spans = await traced(t, async gateway => {
    await gateway.segment({ prompt: 'dog' }, { headers: { traceparent: `00-${TRACE_ID}-${SPAN_ID}-01` } })
    log = await gateway.logged(line => line.msg === 'request')
  })
  t.match(log, { traceId: TRACE_ID, parentSpanId: SPAN_ID })
  const [request] = named(spans, 'POST /segment')
  t.equal(request?.spanContext().traceId, TRACE_ID)
  t.equal(request?.parentSpanContext?.spanId, SPAN_ID)
})

t.test('a new trace has the id that the log has', async t => {
  let log: Record<string, unknown> | undefined
  const spans = await traced(t, async gateway => {
    await gateway.fetch('/usage')
    log = await gateway.logged(line => line.msg === 'request')
  })
  t.equal(named(spans, 'GET /usage')[0]?.spanContext().traceId, log?.traceId)
  t.match(log?.traceId, /^[0-9a-f]{32}$/)
})

t.test('unsampled requests have no spans, and refused requests have one', async t => {
  const spans = await traced(t, async gateway => {
    await gateway.segment({ prompt: 'dog' }, { headers: { traceparent: `00-${TRACE_ID}-${SPAN_ID}-00` } })
    await gateway.segment({ prompt: '' })
  })
  t.strictSame(
    spans.filter(({ kind }) => kind === SpanKind.SERVER).map(({ attributes }) => attributes['error.type']),
    ['missing_selection'],
  )
})

t.test('a purchase that outlives its caller is complete, below a request that has ended', async t => {
  const spans = await traced(t, async gateway => {
    const gate = gateway.upstream.hold()
    const leaving = new AbortController()
    const request = gateway.segment({ prompt: 'dog' }, { signal: leaving.signal }).catch(() => {})
    await gateway.upstream.arrived(1)
    leaving.abort()
    await request
    await gateway.logged(line => line.msg === 'request')
    gate.open()
  })
  t.equal(named(spans, 'POST /segment')[0]?.attributes['http.response.status_code'], 499)
  t.equal(named(spans, 'call').length, 1)
  t.equal(named(spans, 'book and keep').length, 1)
})

t.test('a follower reports its leader', async t => {
  const spans = await traced(t, async gateway => {
    const gate = gateway.upstream.hold()
    const first = gateway.segment({ prompt: 'dog' }, { headers: { 'x-request-id': 'leads' } })
    await gateway.upstream.arrived(1)
    const second = gateway.segment({ prompt: 'dog' })
    for (let other = 0; other < 10; other++) await gateway.fetch('/usage')
    gate.open()
    await Promise.all([first, second])
  })
  t.match(named(spans, 'follow'), [{ attributes: { 'segmind_gateway.leader_request_id': 'leads' } }])
})

t.test('a traceparent is logged without tracing too, and an invalid one is ignored', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const rows: [header: string, traceId: string | undefined][] = [
    [`00-${TRACE_ID}-${SPAN_ID}-01`, TRACE_ID],
    [`cc-${TRACE_ID}-${SPAN_ID}-01-later`, TRACE_ID],
    [`00-${TRACE_ID}-${SPAN_ID}-01-later`, undefined],
    [`ff-${TRACE_ID}-${SPAN_ID}-01`, undefined],
    [`00-${'0'.repeat(32)}-${SPAN_ID}-01`, undefined],
    [`00-${TRACE_ID}-${'0'.repeat(16)}-01`, undefined],
    [`00-${TRACE_ID.toUpperCase()}-${SPAN_ID}-01`, undefined],
    ['nonsense', undefined],
  ]
  for (const [index, [traceparent, traceId]] of rows.entries()) {
    await gateway.fetch('/usage', { headers: { traceparent, 'x-request-id': `r${index}` } })
    const line = await gateway.logged(({ msg, requestId }) => msg === 'request' && requestId === `r${index}`)
    t.equal(line.traceId, traceId, traceparent)
  }
})

t.test('standard variables enable tracing', async t => {
  const off: Record<string, string>[] = [
    {},
    { OTEL_TRACES_EXPORTER: 'none', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' },
    { OTEL_SDK_DISABLED: 'true', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' },
    { OTEL_SERVICE_NAME: 'gateway' },
  ]
  for (const env of off) t.equal(await tracingFromEnv(env), undefined, JSON.stringify(env))
  await t.rejects(tracingFromEnv({ OTEL_TRACES_EXPORTER: 'zipkin' }), /OTEL_TRACES_EXPORTER must be otlp or none/)
  const grpc = { OTEL_TRACES_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }
  await t.rejects(tracingFromEnv(grpc), /OTEL_EXPORTER_OTLP_PROTOCOL must be http\/protobuf or http\/json/)
})

for (const [protocol, type] of [
  ['http/json', 'application/json'],
  ['http/protobuf', 'application/x-protobuf'],
] as const) {
  t.test(`spans reach a collector as ${protocol}`, async t => {
    const received: { type: string | undefined; path: string | undefined; bytes: Buffer }[] = []
    const collector = createServer(async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk)
      received.push({ type: request.headers['content-type'], path: request.url, bytes: Buffer.concat(chunks) })
      response.end('{}')
    })
    await new Promise<void>(resolve => collector.listen(0, '127.0.0.1', resolve))
    t.teardown(() => collector.close())
    const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
      OTEL_SERVICE_NAME: 'mine',
    }
    // The library reads the environment of the process itself.
    Object.assign(process.env, env)
    t.teardown(() => {
      for (const name of Object.keys(env)) delete process.env[name]
    })
    const tracing = await tracingFromEnv(process.env)
    const gateway = await startTestGateway({ tracing })
    t.teardown(gateway.stop)
    await gateway.segment({ prompt: 'dog' })
    await gateway.stop()
    await tracing?.close()
    t.match(received[0], { type, path: '/v1/traces' })
    const all = Buffer.concat(received.map(({ bytes }) => bytes)).toString('latin1')
    for (const word of ['POST /segment', 'mine', 'check image']) t.ok(all.includes(word), word)
    t.notOk(all.includes(gateway.key))
  })
}
