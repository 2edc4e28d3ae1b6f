import t from 'tap'
import { createClient, type GatewayProblem, type Progress } from '../../src/client/index.js'
import { pause } from '../../src/client/send.js'
import {
  broken,
  clientOf,
  cutShort,
  fakeGateway,
  ID,
  json,
  picture,
  problem,
  RESULT,
  startServer,
} from './fake-gateway.js'

const html = (status: number) => (response: import('node:http').ServerResponse) =>
  response.writeHead(status).end('<html>')

t.test('a retryable problem is retried after the requested time', async t => {
  const later = problem(503, 'overloaded', { retryable: true }, { 'retry-after': '7' })
  const { url, received } = await fakeGateway(t, later, later, picture)
  const { client, waits } = clientOf(url)
  t.equal((await client.segment(ID, { prompt: 'dog' })).cost, 0.0017)
  t.strictSame(waits, [7000, 7000])
  t.equal(received.length, 3)
})

t.test('the client gives up after the last attempt or without a chance of success', async t => {
  const busy = problem(429, 'rate_limited', { retryable: true }, { 'retry-after': '1' })
  const spent = (seconds: string) =>
    problem(429, 'budget_exhausted', { retryable: true, billed: 'no' }, { 'retry-after': seconds })
  const rows: [reply: typeof busy, code: string, sent: number, more?: object][] = [
    [busy, 'rate_limited', 3],
    [busy, 'rate_limited', 1, { attempts: 1 }],
    [problem(400, 'invalid_parameter'), 'invalid_parameter', 1],
    [spent('30'), 'budget_exhausted', 3],
    [spent('31'), 'budget_exhausted', 1],
    [spent('61'), 'budget_exhausted', 3, { maxRetryAfterSeconds: 61 }],
    [html(502), 'unreadable_answer', 3],
    [html(503), 'unreadable_answer', 3],
    [html(504), 'unreadable_answer', 3],
    [html(500), 'unreadable_answer', 1],
    [html(418), 'unreadable_answer', 1],
  ]
  for (const [reply, code, sent, more] of rows) {
    const { url, received } = await fakeGateway(t, reply)
    const pending = clientOf(url, more).client.segment(ID, { prompt: 'dog' })
    await t.rejects(pending, { name: 'GatewayProblem', code }, code)
    t.equal(received.length, sent, code)
  }
})

t.test('without Retry-After the delays grow', async t => {
  const { url } = await fakeGateway(t, problem(502, 'upstream_failed', { retryable: true }))
  const { client, waits } = clientOf(url, { attempts: 4 })
  await t.rejects(client.segment(ID, { prompt: 'dog' }), { code: 'upstream_failed' })
  t.equal(waits.length, 3)
  for (const [index, wait] of waits.entries()) t.ok(wait >= 500 * 2 ** index && wait <= 1000 * 2 ** index)
})

t.test('a lost connection is retried only if that cannot buy twice', async t => {
  const rows: [options: object, sent: number][] = [
    [{}, 2],
    [{ cacheControl: 'max-age=60' }, 2],
    [{ cacheControl: 'no-cache' }, 1],
    [{ cacheControl: 'no-store' }, 1],
    [{ cacheControl: 'no-store', idempotencyKey: 'order 1' }, 2],
  ]
  const ways = { broken, cutShort, '504 of a proxy': html(504) }
  for (const [way, reply] of Object.entries(ways)) {
    for (const [options, sent] of rows) {
      const { url, received } = await fakeGateway(t, reply, picture)
      const pending = clientOf(url).client.segment(ID, { prompt: 'dog' }, options)
      if (sent === 2) t.equal((await pending).cost, 0.0017)
      else await t.rejects(pending, { code: reply === ways['504 of a proxy'] ? 'unreadable_answer' : 'network' })
      t.equal(received.length, sent, `${way} ${JSON.stringify(options)}`)
      t.same(new Set(received.map(({ headers }) => headers['idempotency-key'])).size, 1)
    }
  }
})

t.test('a network failure has a cause', async t => {
  const { url } = await fakeGateway(t, broken)
  const { client } = clientOf(url, { attempts: 1 })
  const error: GatewayProblem = await client.usage().then(
    () => t.fail('the request succeeded'),
    error => error,
  )
  t.match(error, { code: 'network', status: 0, retryable: true, billed: 'unknown', cause: Error })
})

t.test('a problem has all members of the response and does not contain the key', async t => {
  const { url } = await fakeGateway(t, problem(401, 'unauthorized', {}, { 'retry-after': '3' }))
  const error: GatewayProblem = await createClient({ url, key: 'SG_secret' })
    .usage()
    .then(
      () => t.fail('the key was accepted'),
      error => error,
    )
  t.match(error, { message: 'detail of unauthorized', code: 'unauthorized', status: 401, requestId: 'r', billed: 'no' })
  t.match(error, { retryable: false, retryAfterSeconds: 3 })
  t.notMatch(JSON.stringify(error) + error.stack, 'SG_secret')
})

t.test('a response that is not JSON is not a valid response', async t => {
  const { url } = await fakeGateway(t, html(200))
  await t.rejects(clientOf(url).client.usage(), { code: 'unreadable_answer', status: 200, retryable: false })
})

t.test('an aborted signal sends nothing', async t => {
  const reason = new Error('enough')
  const { url, received } = await fakeGateway(t, picture)
  const client = createClient({ url, key: 'k' })
  const signal = AbortSignal.abort(reason)
  await t.rejects(client.segment(new Uint8Array(9), { prompt: 'dog' }, { signal }), reason)
  await t.rejects(client.quote(ID, { prompt: 'dog' }, { signal }), reason)
  await t.rejects(client.batch(ID, [{ prompt: 'dog' }], { signal }).next(), reason)
  await t.rejects(client.has(ID, { signal }), reason)
  await t.rejects(client.result(RESULT, { signal }), reason)
  await t.rejects(client.usage(undefined, { signal }), reason)
  t.equal(received.length, 0)
})

t.test('an abort while waiting for the response throws its reason', async t => {
  const reason = new Error('enough')
  const controller = new AbortController()
  const { url, received } = await fakeGateway(t, () => controller.abort(reason))
  const pending = createClient({ url, key: 'k' }).segment(ID, { prompt: 'dog' }, { signal: controller.signal })
  await t.rejects(pending, reason)
  t.equal(received.length, 1)
})

t.test('an abort while reading the response throws its reason', async t => {
  const reason = new Error('enough')
  for (const status of [200, 400]) {
    const controller = new AbortController()
    const pull = (stream: ReadableStreamDefaultController) => {
      controller.abort(reason)
      stream.error(new Error('connection lost'))
    }
    const readPartially = async () => new Response(new ReadableStream({ pull }, { highWaterMark: 0 }), { status })
    const client = createClient({ url: 'http://gateway', key: 'k', fetch: readPartially })
    await t.rejects(client.usage(undefined, { signal: controller.signal }), reason)
  }
})

t.test('an abort during a wait throws its reason', async t => {
  const reason = new Error('enough')
  const busy = problem(429, 'rate_limited', { retryable: true }, { 'retry-after': '30' })
  const running = json(202, { status: 'running' }, { 'x-result-id': RESULT, 'retry-after': '30' })
  for (const reply of [busy, running]) {
    const controller = new AbortController()
    const { url, received } = await fakeGateway(t, reply)
    const wait = (ms: number, signal: AbortSignal | undefined) => {
      t.equal(ms, 30_000)
      const waiting = pause(ms, signal)
      controller.abort(reason)
      return waiting
    }
    const client = createClient({ url, key: 'k', wait })
    await t.rejects(client.segment(ID, { prompt: 'dog' }, { signal: controller.signal }), reason)
    t.equal(received.length, 1)
  }
})

t.test('a wait ends after its time or rejects for an aborted signal', async t => {
  await pause(0, new AbortController().signal)
  const reason = new Error('gone')
  await t.rejects(pause(50_000, AbortSignal.abort(reason)), reason)
})

t.test('an abort during an upload throws its reason', async t => {
  const reason = new Error('enough')
  const large = new Uint8Array(20_000_000)
  const abortOn =
    (controller: AbortController) =>
    ({ phase }: Progress) => {
      if (phase === 'uploading') controller.abort(reason)
    }
  for (const hasProgress of [true, false]) {
    const controller = new AbortController()
    let isWhole = false
    const url = await startServer(t, (request, response) => {
      if (request.headers['content-type'] === 'application/json')
        return void request.resume().once('end', () => problem(404, 'unknown_image')(response, {} as never))
      request
        .once('data', () => controller.abort(reason))
        .once('end', () => {
          isWhole = true
        })
    })
    const options = { signal: controller.signal, ...(hasProgress && { onProgress: abortOn(controller) }) }
    await t.rejects(createClient({ url, key: 'k' }).segment(large, { prompt: 'dog' }, options), reason)
    t.equal(isWhole, false)
  }
})
