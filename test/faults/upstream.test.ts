import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import type { Behaviour } from './schedule.js'
import { startUpstream, type Upstream } from './upstream.js'

const KEY = 'SG_00112233aabbccdd'
const IMAGE = Buffer.from('an image')
const headers = { 'x-api-key': KEY, 'content-type': 'application/json' }

/** Starts an upstream with one behaviour per call, in order. */
async function start(t: Test, ...behaviours: Behaviour[]): Promise<Upstream> {
  const digest = createHash('sha256').update(IMAGE).digest('hex')
  const upstream = await startUpstream({
    apiKey: KEY,
    inputOf: (image, prompt) => (image === digest && prompt === 'dog' ? 0 : undefined),
    behave: (_input, nth) => behaviours[nth] ?? { kind: 'normal', delayMs: 0, cost: 1_000_000 },
  })
  t.teardown(() => upstream.close())
  return upstream
}

function call(upstream: Upstream, { api = 'v1', prompt = 'dog' } = {}) {
  const body = JSON.stringify({ image: IMAGE.toString('base64'), prompt })
  return fetchAll(`${upstream.baseUrl('g0-0')}/${api}/sam-v2-image`, { method: 'POST', headers, body })
}

async function fetchAll(url: string, init: RequestInit = {}) {
  const response = await fetch(url, init)
  const body = Buffer.from(await response.arrayBuffer())
  const json = () => JSON.parse(body.toString('utf8')) as Record<string, unknown>
  return { status: response.status, headers: Object.fromEntries(response.headers), body, json }
}

const paid = (cost: number): Behaviour => ({ kind: 'normal', delayMs: 0, cost })

t.test('a successful call has a unique picture, a cost, an id and a caller', async t => {
  const upstream = await start(t, paid(1_234_567), paid(1_234_567))
  const [first, second] = [await call(upstream), await call(upstream)]
  t.match(first.headers, { 'x-request-id': 'call-0', 'x-cost': '0.001234' })
  t.match(second.headers, { 'x-request-id': 'call-1', 'x-cost': '0.001234001' })
  t.strictSame(upstream.pictureOf(first.body), { requestId: 'call-0', input: 0 })
  t.strictSame(upstream.pictureOf(second.body), { requestId: 'call-1', input: 0 })
  t.strictSame(upstream.pictureOf(Buffer.from('no picture')), {})
  t.match(upstream.calls, [
    { instance: 'g0-0', input: 0, billed: 'yes', status: 200, cost: 1_234_000, deliveries: [{ instance: 'g0-0' }] },
    { cost: 1_234_001 },
  ])
  t.equal(upstream.openCalls(), 0)
})

t.test('a refusal is not billed, and a 429 has a retry time', async t => {
  const upstream = await start(
    t,
    { kind: 'busy', delayMs: 0, waitMs: 500 },
    { kind: 'server-error', delayMs: 0, status: 502 },
  )
  const busy = await call(upstream)
  t.equal(busy.status, 429)
  t.match(busy.headers, { 'x-rate-limit-reset-at-utc': /^\d{4}-.*Z$/ })
  t.equal((await call(upstream)).status, 502)
  t.match(upstream.calls, [
    { billed: 'no', status: 429 },
    { billed: 'no', status: 502 },
  ])
})

t.test('a call that is reset before processing, before the response or during it is billed no, maybe, yes', async t => {
  const upstream = await start(
    t,
    { kind: 'reset-before', delayMs: 0 },
    { kind: 'reset', delayMs: 0, cost: 1_000_000 },
    { kind: 'cut', delayMs: 0, cost: 1_000_000 },
  )
  await t.rejects(call(upstream))
  await t.rejects(call(upstream))
  await t.rejects(call(upstream))
  t.strictSame(
    upstream.calls.map(({ billed }) => billed),
    ['no', 'maybe', 'yes'],
  )
  t.ok(upstream.calls.every(({ deliveries }) => deliveries.length === 0))
})

t.test('a job is accepted, reported, billed once and can be fetched repeatedly', async t => {
  const upstream = await start(t, { ...paid(1_500_000), isFlaky: true } as Behaviour)
  const submitted = await call(upstream, { api: 'v2' })
  t.match(submitted.json(), { request_id: 'call-0', status: 'QUEUED' })
  const result = `${upstream.baseUrl('g1-2')}/v2/requests/call-0`
  await t.rejects(fetchAll(`${result}/status`, { headers }), 'the first poll of a flaky job fails')
  t.match((await fetchAll(`${result}/status`, { headers })).json(), { status: 'COMPLETED' })
  const result2 = (await fetchAll(result, { headers })).json()
  t.match(result2, { status: 'COMPLETED', metrics: { cost: 0.0015 } })
  await t.rejects(fetchAll(String(result2.output)), 'its first picture fetch fails')
  t.strictSame(upstream.pictureOf((await fetchAll(String(result2.output))).body), { requestId: 'call-0', input: 0 })
  t.match(upstream.calls, [{ jobAccepted: true, billed: 'yes', deliveries: [{ instance: 'g1-2' }] }])
})

t.test('a failed job is not billed', async t => {
  const upstream = await start(t, { kind: 'failed-job', delayMs: 0, cost: 1_500_000 })
  await call(upstream, { api: 'v2' })
  const status = await fetchAll(`${upstream.baseUrl('g0-0')}/v2/requests/call-0/status`, { headers })
  t.equal(status.status, 422)
  t.match(upstream.calls, [{ jobAccepted: true, billed: 'no' }])
})

t.test('a refusing upstream accepts no new connection, and later returns on the same port', async t => {
  const upstream = await start(t)
  const before = upstream.baseUrl('g0-0')
  upstream.refuse()
  const newConnection = { ...headers, connection: 'close' }
  await t.rejects(fetchAll(`${before}/v1/get-user-credits`, { headers: newConnection }), {
    cause: { code: 'ECONNREFUSED' },
  })
  await upstream.accept()
  t.equal(upstream.baseUrl('g0-0'), before)
  t.equal((await call(upstream)).status, 200)
})

t.test('an unplanned call is refused with a message; balance requests are free', async t => {
  const upstream = await start(t)
  t.equal((await call(upstream, { prompt: 'cat' })).status, 400)
  t.equal((await fetchAll(`${upstream.baseUrl('g0-0')}/v1/get-user-credits`, { headers })).status, 200)
  t.match(upstream.calls, [{ kind: 'unread', billed: 'no' }])
})
