import t from 'tap'
import { createClient, type GatewayProblem, type Progress } from '../../src/client/index.js'
import { pause } from '../../src/client/send.js'
import { broken, cutShort, ID, impatient, json, listening, picture, problem, RESULT, standIn } from './stand-in.js'

const html = (status: number) => (response: import('node:http').ServerResponse) =>
  response.writeHead(status).end('<html>')

t.test('only what is retryable is sent again, after the time that is asked for', async t => {
  const later = problem(503, 'overloaded', { retryable: true }, { 'retry-after': '7' })
  const { url, received } = await standIn(t, later, later, picture)
  const { client, waits } = impatient(url)
  t.equal((await client.segment(ID, { prompt: 'dog' })).cost, 0.0017)
  t.strictSame(waits, [7000, 7000])
  t.equal(received.length, 3)
})

t.test('it gives up when it must', async t => {
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
    const { url, received } = await standIn(t, reply)
    const asked = impatient(url, more).client.segment(ID, { prompt: 'dog' })
    await t.rejects(asked, { name: 'GatewayProblem', code }, code)
    t.equal(received.length, sent, code)
  }
})

t.test('without word from the gateway the pauses grow', async t => {
  const { url } = await standIn(t, problem(502, 'upstream_failed', { retryable: true }))
  const { client, waits } = impatient(url, { attempts: 4 })
  await t.rejects(client.segment(ID, { prompt: 'dog' }), { code: 'upstream_failed' })
  t.equal(waits.length, 3)
  for (const [index, wait] of waits.entries()) t.ok(wait >= 500 * 2 ** index && wait <= 1000 * 2 ** index)
})

t.test('what broke on its way is sent again only where that cannot buy twice', async t => {
  const rows: [options: object, sent: number][] = [
    [{}, 2],
    [{ cacheControl: 'max-age=60' }, 2],
    [{ cacheControl: 'no-cache' }, 1],
    [{ cacheControl: 'no-store' }, 1],
    [{ cacheControl: 'no-store', idempotencyKey: 'order 1' }, 2],
  ]
  const ways = { broken, cutShort, 'a proxy’s 504': html(504) }
  for (const [way, reply] of Object.entries(ways)) {
    for (const [options, sent] of rows) {
      const { url, received } = await standIn(t, reply, picture)
      const asked = impatient(url).client.segment(ID, { prompt: 'dog' }, options)
      if (sent === 2) t.equal((await asked).cost, 0.0017)
      else await t.rejects(asked, { code: reply === ways['a proxy’s 504'] ? 'unreadable_answer' : 'network' })
      t.equal(received.length, sent, `${way} ${JSON.stringify(options)}`)
      t.same(new Set(received.map(({ headers }) => headers['idempotency-key'])).size, 1)
    }
  }
})

t.test('a failure of the network says what lies behind it', async t => {
  const { url } = await standIn(t, broken)
  const { client } = impatient(url, { attempts: 1 })
  const error: GatewayProblem = await client.usage().then(
    () => t.fail('it was answered'),
    error => error,
  )
  t.match(error, { code: 'network', status: 0, retryable: true, billed: 'unknown', cause: Error })
})

t.test('a problem says all that the gateway says, and holds no key', async t => {
  const { url } = await standIn(t, problem(401, 'unauthorized', {}, { 'retry-after': '3' }))
  const error: GatewayProblem = await createClient({ url, key: 'SG_secret' })
    .usage()
    .then(
      () => t.fail('it was let in'),
      error => error,
    )
  t.match(error, { message: 'it was unauthorized', code: 'unauthorized', status: 401, requestId: 'r', billed: 'no' })
  t.match(error, { retryable: false, retryAfterSeconds: 3 })
  t.notMatch(JSON.stringify(error) + error.stack, 'SG_secret')
})

t.test('what is no JSON though it should be is no answer of the gateway’s', async t => {
  const { url } = await standIn(t, html(200))
  await t.rejects(impatient(url).client.usage(), { code: 'unreadable_answer', status: 200, retryable: false })
})

t.test('whoever aborts is heard before anything is sent', async t => {
  const reason = new Error('enough')
  const { url, received } = await standIn(t, picture)
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

t.test('whoever aborts is heard while the gateway thinks', async t => {
  const reason = new Error('enough')
  const leaving = new AbortController()
  const { url, received } = await standIn(t, () => leaving.abort(reason))
  const asked = createClient({ url, key: 'k' }).segment(ID, { prompt: 'dog' }, { signal: leaving.signal })
  await t.rejects(asked, reason)
  t.equal(received.length, 1)
})

t.test('whoever aborts is heard while an answer, or a problem, arrives', async t => {
  const reason = new Error('enough')
  for (const status of [200, 400]) {
    const leaving = new AbortController()
    const pull = (arriving: ReadableStreamDefaultController) => {
      leaving.abort(reason)
      arriving.error(new Error('torn'))
    }
    const halfRead = async () => new Response(new ReadableStream({ pull }, { highWaterMark: 0 }), { status })
    const client = createClient({ url: 'http://gateway', key: 'k', fetch: halfRead })
    await t.rejects(client.usage(undefined, { signal: leaving.signal }), reason)
  }
})

t.test('whoever aborts is heard in the middle of a wait', async t => {
  const reason = new Error('enough')
  const busy = problem(429, 'rate_limited', { retryable: true }, { 'retry-after': '30' })
  const running = json(202, { status: 'running' }, { 'x-result-id': RESULT, 'retry-after': '30' })
  for (const reply of [busy, running]) {
    const leaving = new AbortController()
    const { url, received } = await standIn(t, reply)
    const wait = (ms: number, signal: AbortSignal | undefined) => {
      t.equal(ms, 30_000)
      const waiting = pause(ms, signal)
      leaving.abort(reason)
      return waiting
    }
    const client = createClient({ url, key: 'k', wait })
    await t.rejects(client.segment(ID, { prompt: 'dog' }, { signal: leaving.signal }), reason)
    t.equal(received.length, 1)
  }
})

t.test('a wait ends by itself, and not at all for whoever has left', async t => {
  await pause(0, new AbortController().signal)
  const reason = new Error('gone')
  await t.rejects(pause(50_000, AbortSignal.abort(reason)), reason)
})

t.test('whoever aborts is heard in the middle of an upload', async t => {
  const reason = new Error('enough')
  const large = new Uint8Array(20_000_000)
  const follow =
    (leaving: AbortController) =>
    ({ phase }: Progress) => {
      if (phase === 'uploading') leaving.abort(reason)
    }
  for (const isFollowed of [true, false]) {
    const leaving = new AbortController()
    let isWhole = false
    const url = await listening(t, (request, response) => {
      if (request.headers['content-type'] === 'application/json')
        return void request.resume().once('end', () => problem(404, 'unknown_image')(response, {} as never))
      request
        .once('data', () => leaving.abort(reason))
        .once('end', () => {
          isWhole = true
        })
    })
    const options = { signal: leaving.signal, ...(isFollowed && { onProgress: follow(leaving) }) }
    await t.rejects(createClient({ url, key: 'k' }).segment(large, { prompt: 'dog' }, options), reason)
    t.equal(isWhole, false)
  }
})
