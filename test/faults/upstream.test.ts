import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import type { Behaviour } from './schedule.js'
import { startUpstream, type Upstream } from './upstream.js'

const KEY = 'SG_00112233aabbccdd'
const IMAGE = Buffer.from('an image')
const headers = { 'x-api-key': KEY, 'content-type': 'application/json' }

/** A Segmind that does one thing after the other, whatever is asked. */
async function start(t: Test, ...behaviours: Behaviour[]): Promise<Upstream> {
  const digest = createHash('sha256').update(IMAGE).digest('hex')
  const upstream = await startUpstream({
    apiKey: KEY,
    questionOf: (image, prompt) => (image === digest && prompt === 'dog' ? 0 : undefined),
    behave: (_question, nth) => behaviours[nth] ?? { kind: 'normal', delayMs: 0, cost: 1_000_000 },
  })
  t.teardown(() => upstream.close())
  return upstream
}

function call(upstream: Upstream, { api = 'v1', prompt = 'dog' } = {}) {
  const body = JSON.stringify({ image: IMAGE.toString('base64'), prompt })
  return ask(`${upstream.baseUrl('g0-0')}/${api}/sam-v2-image`, { method: 'POST', headers, body })
}

async function ask(url: string, init: RequestInit = {}) {
  const response = await fetch(url, init)
  const body = Buffer.from(await response.arrayBuffer())
  const json = () => JSON.parse(body.toString('utf8')) as Record<string, unknown>
  return { status: response.status, headers: Object.fromEntries(response.headers), body, json }
}

const paid = (cost: number): Behaviour => ({ kind: 'normal', delayMs: 0, cost })

t.test('a good call is a picture of its own, with its cost, its name and whose it was', async t => {
  const upstream = await start(t, paid(1_234_567), paid(1_234_567))
  const [first, second] = [await call(upstream), await call(upstream)]
  t.match(first.headers, { 'x-request-id': 'call-0', 'x-cost': '0.001234' })
  t.match(second.headers, { 'x-request-id': 'call-1', 'x-cost': '0.001234001' })
  t.strictSame(upstream.pictureOf(first.body), { requestId: 'call-0', question: 0 })
  t.strictSame(upstream.pictureOf(second.body), { requestId: 'call-1', question: 0 })
  t.strictSame(upstream.pictureOf(Buffer.from('no picture')), {})
  t.match(upstream.calls, [
    { life: 'g0-0', question: 0, billed: 'yes', status: 200, cost: 1_234_000, deliveries: [{ life: 'g0-0' }] },
    { cost: 1_234_001 },
  ])
  t.equal(upstream.open(), 0)
})

t.test('a refusal is not billed; when to come again is said where it is busy', async t => {
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

t.test('a call that is torn before, after and in the middle is not, maybe and surely billed', async t => {
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

t.test('a job is taken, told of, billed once and fetched by whoever asks', async t => {
  const upstream = await start(t, { ...paid(1_500_000), isRough: true } as Behaviour)
  const submitted = await call(upstream, { api: 'v2' })
  t.match(submitted.json(), { request_id: 'call-0', status: 'QUEUED' })
  const result = `${upstream.baseUrl('g1-2')}/v2/requests/call-0`
  await t.rejects(ask(`${result}/status`, { headers }), 'a rough one fails the first question')
  t.match((await ask(`${result}/status`, { headers })).json(), { status: 'COMPLETED' })
  const told = (await ask(result, { headers })).json()
  t.match(told, { status: 'COMPLETED', metrics: { cost: 0.0015 } })
  await t.rejects(ask(String(told.output)), 'and the first picture')
  t.strictSame(upstream.pictureOf((await ask(String(told.output))).body), { requestId: 'call-0', question: 0 })
  t.match(upstream.calls, [{ jobTaken: true, billed: 'yes', deliveries: [{ life: 'g1-2' }] }])
})

t.test('a job that fails is not billed', async t => {
  const upstream = await start(t, { kind: 'failed-job', delayMs: 0, cost: 1_500_000 })
  await call(upstream, { api: 'v2' })
  const status = await ask(`${upstream.baseUrl('g0-0')}/v2/requests/call-0/status`, { headers })
  t.equal(status.status, 422)
  t.match(upstream.calls, [{ jobTaken: true, billed: 'no' }])
})

t.test('while it refuses, no new connection succeeds; then it is back at the same place', async t => {
  const upstream = await start(t)
  const before = upstream.baseUrl('g0-0')
  upstream.refuse()
  const unheard = { ...headers, connection: 'close' }
  await t.rejects(ask(`${before}/v1/get-user-credits`, { headers: unheard }), { cause: { code: 'ECONNREFUSED' } })
  await upstream.accept()
  t.equal(upstream.baseUrl('g0-0'), before)
  t.equal((await call(upstream)).status, 200)
})

t.test('what nobody planned is refused aloud, the balance is free', async t => {
  const upstream = await start(t)
  t.equal((await call(upstream, { prompt: 'cat' })).status, 400)
  t.equal((await ask(`${upstream.baseUrl('g0-0')}/v1/get-user-credits`, { headers })).status, 200)
  t.match(upstream.calls, [{ kind: 'unread', billed: 'no' }])
})
