import { readFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { WorkerSegmenter } from '../../src/sandbox/segmenter.js'
import { eventually } from '../support/eventually.js'
import { startTestGateway, type TestGateway, type TestGatewayOptions } from '../support/gateway/gateway.js'

const ADMIN_KEY = 'an-operators-key'
/** Request rate for these tests, which poll without a pause. */
const TEAMS = { vision: { limits: { requests_per_minute: 1_000_000 } } }
const photo = await readFile('examples/photos/coffee.jpg')

async function open(t: Test, options: TestGatewayOptions = {}): Promise<TestGateway> {
  const gateway = await startTestGateway({ teams: TEAMS, ...options, env: { ADMIN_KEY, ...options.env } })
  t.teardown(gateway.stop)
  return gateway
}

function segment(gateway: TestGateway, prompt: string, headers: Record<string, string> = {}, path = '/segment') {
  const form = new FormData()
  form.set('prompt', prompt)
  form.set('image', new Blob([new Uint8Array(photo)]))
  const init = { method: 'POST', body: form, headers: { 'x-api-key': gateway.testKey, ...headers } }
  return gateway.fetch(path, init)
}

/** Requests a result with the test key until it is no longer pending. */
function finished(gateway: TestGateway & { testKey: string }, path: string): Promise<Response> {
  return eventually('the result never finished', async () => {
    const answer = await gateway.fetch(path, { headers: { 'x-api-key': gateway.testKey } })
    return answer.status !== 202 && answer
  })
}

t.test('a test key gets a real mask free of charge and leaves no trace', async t => {
  const gateway = await open(t, { segmenter: new WorkerSegmenter() })
  const answer = await segment(gateway, 'the cup')
  t.equal(answer.status, 200)
  t.equal(answer.headers.get('x-sandbox'), 'true')
  t.equal(answer.headers.get('x-cost'), '0')
  t.equal(answer.headers.get('x-cache'), 'MISS')
  t.match(answer.headers.get('x-remaining-credits'), /^\d+$/)
  t.equal(Buffer.from(await answer.arrayBuffer()).readUInt16BE(0), 0xffd8)
  t.equal((await segment(gateway, 'the cup')).headers.get('x-cache'), 'HIT', 'from a separate cache')

  t.equal(gateway.upstream.calls.length, 0, 'Segmind was not called')
  const bought = await segment(gateway, 'the cup', { 'x-api-key': gateway.key })
  t.equal(bought.headers.get('x-cache'), 'MISS', 'a real key does not find it')
  t.equal(bought.headers.get('x-sandbox'), null)
  t.equal((await segment(gateway, 'the spoon')).headers.get('x-cache'), 'MISS')
  await segment(gateway, 'the saucer', { 'x-api-key': gateway.key })
  t.equal(
    (await segment(gateway, 'the saucer')).headers.get('x-cache'),
    'MISS',
    'a test key does not find results of a real key',
  )

  const usage = await (await gateway.fetch('/usage')).json()
  t.match(usage, { totals: { requests: 2, paidCalls: 2 } })
  const credits = await (await gateway.fetch('/admin/credits', { headers: { 'x-api-key': ADMIN_KEY } })).json()
  t.match(credits, { balance: { credits: 9.9966 } })
  t.notMatch(await gateway.metrics(), /results_total\{[^}]*\} [3-9]/)
})

t.test('results and images of test keys are separate', async t => {
  const gateway = await open(t)
  const { headers } = await segment(gateway, 'the cup')
  const result = `/results/${headers.get('x-result-id')}`
  const image = `/images/${headers.get('x-image-id')}`
  const as = (key: string, path: string, method = 'GET') =>
    gateway.fetch(path, { method, headers: { 'x-api-key': key } })
  t.equal((await as(gateway.testKey, result)).status, 200)
  t.equal((await as(gateway.key, result)).status, 404)
  t.equal((await as(gateway.testKey, image, 'HEAD')).status, 200)
  t.equal((await as(gateway.key, image, 'HEAD')).status, 404)
  t.equal((await as(gateway.testKey, image, 'DELETE')).status, 204)
})

t.test('a test key passes every check of a real key: rates, inputs, the team', async t => {
  const gateway = await open(t, { teams: { vision: { limits: { requests_per_minute: 3 } } } })
  t.match(await (await segment(gateway, '')).json(), { code: 'missing_selection' })
  t.match(await (await segment(gateway, 'x'.repeat(1001))).json(), { code: 'invalid_parameter' })
  await segment(gateway, 'the cup', { 'x-api-key': gateway.key })
  const limited = await segment(gateway, 'the cup')
  t.equal(limited.status, 429, 'all keys of a team share one rate')
  t.equal(limited.headers.get('x-sandbox'), 'true', 'on every response')
  const off = await open(t, { teams: { vision: { disabled: true } } })
  t.equal((await segment(off, 'the cup')).status, 403)
  t.equal((await (await open(t)).fetch('/admin/credits', { headers: { 'x-api-key': gateway.testKey } })).status, 401)
})

t.test('a test key works with an exhausted budget and an empty account', async t => {
  const gateway = await open(t, { teams: { vision: { budget: { daily: 0 } } } })
  t.equal((await segment(gateway, 'the cup')).status, 200)
  t.equal((await segment(gateway, 'the cup', { 'x-api-key': gateway.key })).status, 429)
})

const TRIGGERS: [prompt: string, status: number, code: string, retryAfter: RegExp | null][] = [
  ['test:credits_exhausted', 503, 'credits_exhausted', /^60$/],
  ['test:rate_limited the cup', 429, 'rate_limited', /^\d+$/],
  ['the cup TEST:upstream_failed', 502, 'upstream_failed', null],
  ['test:budget_exhausted', 429, 'budget_exhausted', /^\d+$/],
  ['test:upstream_timeout', 504, 'upstream_timeout', null],
  ['test:no_such_thing', 422, 'upstream_rejected', null],
]

t.test('triggers simulate failures with the real codes', async t => {
  const gateway = await open(t)
  for (const [prompt, status, code, retryAfter] of TRIGGERS) {
    const answer = await segment(gateway, prompt)
    t.match(await answer.json(), { status, code, requestId: String }, prompt)
    t.match(answer.headers.get('retry-after'), retryAfter, prompt)
    t.equal(answer.headers.get('x-sandbox'), 'true')
  }
  const exhausted = await segment(gateway, 'test:credits_exhausted', {}, '/v1/sam-v2-image')
  t.equal(exhausted.status, 406, 'with Segmind’s status at its endpoint')
  const real = await segment(gateway, 'test:credits_exhausted', { 'x-api-key': gateway.key })
  t.equal(real.status, 200, 'with a real key the trigger is part of the prompt')
})

t.test('a simulated failure does not count as an error of the gateway', async t => {
  const gateway = await open(t)
  t.equal((await segment(gateway, 'test:upstream_failed')).status, 502)
  const selections = [{ prompt: 'test:upstream_failed' }]
  const body = JSON.stringify({ image: photo.toString('base64'), selections })
  const json = { 'content-type': 'application/json', accept: 'application/x-ndjson' }
  const headers = { 'x-api-key': gateway.testKey, ...json }
  t.match(await (await gateway.fetch('/segment/batch', { method: 'POST', headers, body })).json(), { status: 502 })
  t.equal((await gateway.segment({ prompt: '' })).status, 400)
  const metrics = await gateway.metrics()
  t.notMatch(metrics, /errors_total\{[^}]*code="upstream_failed"\} [1-9]/)
  t.match(metrics, 'requests_total{route="/segment",team="vision",code="502"} 1')
  const overview = await gateway.fetch('/admin/overview', { headers: { 'x-api-key': ADMIN_KEY } })
  t.match(((await overview.json()) as { errors: object[] }).errors, [{ code: 'missing_selection' }])
})

t.test('test:upstream_slow times out, and the next request is a hit', async t => {
  const gateway = await open(t)
  const slow = await segment(gateway, 'test:upstream_slow the cup')
  t.match(await slow.json(), { status: 504, code: 'upstream_slow' })
  const answer = await eventually('the slow request never finished', async () => {
    const found = await segment(gateway, 'test:upstream_slow the cup')
    return found.status !== 504 && found
  })
  t.equal(answer.status, 200)
  const later = await segment(gateway, 'test:upstream_slow the spoon', { prefer: 'respond-async, wait=0' })
  t.equal(later.status, 202)
  const path = later.headers.get('location') ?? ''
  t.equal((await finished(gateway, path)).status, 200)
})

t.test('a failure of a deferred request is reported at its result', async t => {
  const gateway = await open(t)
  const headers = { prefer: 'respond-async, wait=0' }
  const answer = await segment(gateway, 'test:upstream_failed', headers)
  if (answer.status === 202) {
    const path = answer.headers.get('location') ?? ''
    t.match(await (await finished(gateway, path)).json(), { code: 'upstream_failed' })
  } else t.match(await answer.json(), { code: 'upstream_failed' })
})

t.test('jobs, batches, quotes and output forms work with a test key', async t => {
  const gateway = await open(t)
  const own = { 'x-api-key': gateway.testKey }
  const submitted = (await (await segment(gateway, 'the cup', {}, '/v2/sam-v2-image')).json()) as Record<string, string>
  const look = async () =>
    (await gateway.fetch(new URL(submitted.response_url ?? '').pathname, { headers: own })).json() as Promise<{
      status: string
      output?: string
    }>
  const job = await eventually('the job never completed', async () => {
    const found = await look()
    return found.status === 'COMPLETED' && found
  })
  t.equal((await fetch(job.output ?? '')).status, 200)
  t.match(await (await segment(gateway, 'the fork', {}, '/segment/quote')).json(), { costCredits: 0, allowed: true })
  const form = new FormData()
  form.set('image', new Blob([new Uint8Array(photo)]))
  form.set('selections', JSON.stringify([{ prompt: 'the cup', output: 'rle' }, { prompt: 'test:overloaded' }]))
  const headers = { ...own, accept: 'application/x-ndjson' }
  const lines = (await (await gateway.fetch('/segment/batch', { method: 'POST', body: form, headers })).text()).trim()
  const items = lines.split('\n').map(line => JSON.parse(line) as { index: number; status: number; rle?: object })
  t.strictSame(items.map(({ index, status }) => `${index} ${status}`).sort(), ['0 200', '1 503'])
  t.match(items.find(({ index }) => index === 0)?.rle, { size: [400, 600] })
  t.equal(gateway.upstream.calls.length, 0)
})
