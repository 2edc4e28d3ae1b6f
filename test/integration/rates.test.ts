import t, { type Test } from 'tap'
import { otherJpeg } from '../fixtures/jpeg.js'
import { eventually } from '../support/eventually.js'
import { startTestGateway, type TestGateway, type TestGatewayOptions } from '../support/gateway/gateway.js'
import { startRedis } from '../support/programs/redis-server.js'

const photo = await otherJpeg(3)
const JSON_TYPE = { 'content-type': 'application/json' }

async function open(t: Test, options: TestGatewayOptions): Promise<TestGateway> {
  const gateway = await startTestGateway(options)
  t.teardown(gateway.stop)
  return gateway
}

const limited = (limits: Record<string, number>) => ({ teams: { vision: { limits } } })

function post(gateway: TestGateway, path: string, fields: object, headers: Record<string, string> = {}) {
  const body = JSON.stringify({ image: photo.toString('base64'), ...fields })
  return gateway.fetch(path, { method: 'POST', headers: { ...JSON_TYPE, ...headers }, body })
}

function batch(gateway: TestGateway, count: number, headers: Record<string, string> = {}): Promise<Response> {
  const selections = Array.from({ length: count }, (_, index) => ({ prompt: `number ${index}` }))
  return post(gateway, '/segment/batch', { selections }, { accept: 'application/x-ndjson', ...headers })
}

/** Returns `status limit remaining` of a response. */
async function rateOf(answer: Response | Promise<Response>): Promise<string> {
  const { status, headers, body } = await answer
  await body?.cancel()
  const [, limit] = /^"(\w+)"/.exec(headers.get('ratelimit-policy') ?? '') ?? []
  return `${status} ${limit} ${headers.get('x-ratelimit-remaining')}`
}

t.test('each route counts towards the rate of what it may do', async t => {
  const gateway = await open(t, limited({ requests_per_minute: 20, reads_per_minute: 30 }))
  const bought = await gateway.segment({ prompt: 'dog' }, { image: photo })
  const id = bought.headers.get('x-result-id')
  const image = bought.headers.get('x-image-id')
  const job = (await (await post(gateway, '/v2/sam-v2-image', { prompt: 'dog' })).json()) as { request_id: string }
  const rows: [what: string, answer: () => Promise<Response>, rate: string][] = [
    ['POST /segment, a hit', () => gateway.segment({ prompt: 'dog' }, { image: photo }), '200 requests_per_minute 17'],
    ['POST /segment, refused', () => gateway.segment({}, { image: photo }), '400 requests_per_minute 16'],
    ['POST /v1', () => post(gateway, '/v1/sam-v2-image', { prompt: 'dog' }), '200 requests_per_minute 15'],
    ['POST /v2', () => post(gateway, '/v2/sam-v2-image', { prompt: 'dog' }), '200 requests_per_minute 14'],
    ['a batch', () => batch(gateway, 5), '200 requests_per_minute 9'],
    ['a malformed batch', () => post(gateway, '/segment/batch', { selections: 7 }), '400 requests_per_minute 8'],
    ['a result', () => gateway.fetch(`/results/${id}`), '200 reads_per_minute 29'],
    ['an unknown result', () => gateway.fetch('/results/x'), '404 reads_per_minute 28'],
    ['a poll of v1', () => gateway.fetch(`/v1/requests/${job.request_id}`), '200 reads_per_minute 27'],
    ['a poll of v2', () => gateway.fetch(`/v2/requests/${job.request_id}/status`), '200 reads_per_minute 26'],
    ['a result of v2', () => gateway.fetch(`/v2/requests/${job.request_id}`), '200 reads_per_minute 25'],
    ['the balance', () => gateway.fetch('/v1/get-user-credits'), '200 reads_per_minute 24'],
    ['a quote', () => post(gateway, '/segment/quote', { prompt: 'cat' }), '200 reads_per_minute 23'],
    ['an upload', () => post(gateway, '/images', {}), '200 reads_per_minute 22'],
    ['a look at an image', () => gateway.fetch(`/images/${image}`, { method: 'HEAD' }), '200 reads_per_minute 21'],
    ['a deletion', () => gateway.fetch(`/images/${image}`, { method: 'DELETE' }), '204 reads_per_minute 20'],
    ['usage', () => gateway.fetch('/usage'), '200 reads_per_minute 19'],
  ]
  for (const [what, answer, rate] of rows) t.equal(await rateOf(answer()), rate, what)
})

t.test('each rate has its own bound, and the refusal names it', async t => {
  const gateway = await open(t, limited({ requests_per_minute: 1, reads_per_minute: 2 }))
  const dog = () => gateway.segment({ prompt: 'dog' }, { image: photo })
  const bought = await dog()
  const refused = await dog()
  t.match(refused.headers.get('retry-after'), /^[1-9]\d?$/)
  t.match(refused.headers.get('ratelimit'), /^"requests_per_minute";r=0;t=\d+$/)
  t.match(await refused.json(), { code: 'rate_limited', billed: 'no', detail: /limits\.requests_per_minute/ })
  const result = () => gateway.fetch(`/results/${bought.headers.get('x-result-id')}`)
  t.strictSame([(await result()).status, (await result()).status], [200, 200], 'results are still fetched')
  const last = await result()
  t.equal(last.headers.get('ratelimit-policy'), '"reads_per_minute";q=2;w=60')
  t.match(await last.json(), { status: 429, code: 'rate_limited', detail: /limits\.reads_per_minute/ })
})

t.test('a batch that does not fit is refused whole, before its image is fetched', async t => {
  const gateway = await open(t, limited({ requests_per_minute: 10 }))
  t.equal(await rateOf(batch(gateway, 4)), '200 requests_per_minute 6')
  const refused = await batch(gateway, 7)
  t.match(refused.headers.get('retry-after'), /^[1-9]\d?$/)
  t.match(await refused.json(), {
    status: 429,
    code: 'rate_limited',
    billed: 'no',
    detail: /7 requests.* 6 of 10 .*left/,
  })
  const selections = Array.from({ length: 7 }, () => ({ prompt: 'dog' }))
  const byUrl = post(gateway, '/segment/batch', { image: 'http://10.0.0.1/photo.jpg', selections })
  t.equal(await rateOf(byUrl), '429 requests_per_minute 6', 'a fetch would have been refused with 422')
  const calls = gateway.upstream.calls.length
  t.equal(await rateOf(batch(gateway, 6)), '200 requests_per_minute 0', 'a refused batch counts nothing')
  t.equal(await rateOf(batch(gateway, 1)), '429 requests_per_minute 0')
  t.equal(calls, 4)
})

t.test('a batch is refused before its body is read when nothing is left', async t => {
  const gateway = await open(t, limited({ requests_per_minute: 1 }))
  await gateway.segment({ prompt: 'dog' })
  const refused = await post(gateway, '/segment/batch', { unknown: true })
  t.match(await refused.json(), { status: 429 }, 'a body that was read would get 400')
})

t.test('batches at two replicas share the rate, and none is admitted in part', async t => {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  const options = { redisUrl: redis.url, ...limited({ requests_per_minute: 100 }) }
  const one = await open(t, options)
  const other = await open(t, { ...options, keys: one.keys, upstream: one.upstream })
  const answers = await Promise.all(
    Array.from({ length: 6 }, (_, index) => batch(index % 2 ? one : other, 30, { 'cache-control': 'only-if-cached' })),
  )
  const items = await Promise.all(
    answers.map(async answer => (answer.status === 200 ? (await answer.text()).trim().split('\n').length : 0)),
  )
  t.strictSame(items.sort(), [0, 0, 0, 30, 30, 30])
  t.equal(await rateOf(batch(one, 10, { 'cache-control': 'only-if-cached' })), '200 requests_per_minute 0')
})

/**
 * One run of Segmind's SDK: submits, polls once a second, fetches. A status other than 200 ends it.
 */
class Run {
  readonly #gateway: TestGateway
  #urls: Record<string, string> = {}
  status = ''
  output: unknown

  constructor(gateway: TestGateway) {
    this.#gateway = gateway
  }

  async submit(prompt: string): Promise<void> {
    const answer = await post(this.#gateway, '/v2/sam-v2-image', { prompt })
    if (!answer.ok) throw new Error(`the submit got ${answer.status}`)
    this.#urls = (await answer.json()) as Record<string, string>
  }

  async poll(): Promise<void> {
    this.status = String((await this.#get('status_url')).status)
    if (this.status === 'COMPLETED') this.output = (await this.#get('response_url')).output
  }

  async #get(url: string): Promise<Record<string, unknown>> {
    const answer = await this.#gateway.fetch(new URL(this.#urls[url] ?? '').pathname)
    if (!answer.ok) throw new Error(`a request of ${url} got ${answer.status}`)
    return (await answer.json()) as Record<string, unknown>
  }
}

t.test('every run of a client that polls once a second completes at the full rate', async t => {
  const gateway = await open(t, limited({ requests_per_minute: 100 }))
  const gate = gateway.upstream.hold()
  const runs = Array.from({ length: 100 }, () => new Run(gateway))
  await Promise.all(runs.map((run, index) => run.submit(`number ${index}`)))
  const second = async () => {
    const waiting = runs.filter(({ status }) => status !== 'COMPLETED')
    return (await Promise.allSettled(waiting.map(run => run.poll()))).filter(({ status }) => status === 'rejected')
  }
  for (let seconds = 1; seconds <= 5; seconds++) t.strictSame(await second(), [])
  gate.open()
  await eventually('the results never came', async () =>
    /results_total\{team="vision",cache="miss"\} 100\n/.test(await gateway.metrics()),
  )
  await eventually('a job never ended', async () => {
    t.strictSame(await second(), [])
    return runs.every(({ status }) => status === 'COMPLETED')
  })
  t.equal(runs.filter(({ output }) => output !== undefined).length, 100)
  t.equal(gateway.upstream.calls.length, 100)
})
