import { createHash } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { inspect } from 'node:util'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import type { Billed, ErrorCode } from '../../src/errors.js'
import type { Bill, CallTerms, UpstreamOutcome } from '../../src/segment/ports.js'
import type { ImageBytes, Params } from '../../src/segment/types.js'
import { createSegmindClient, type SegmindClientOptions, type UpstreamAttempt } from '../../src/segmind/client.js'
import { FAKE_COST, type FakeAnswer, type FakeSegmind, startFakeSegmind } from '../support/fake-segmind.js'

const IMAGE_BYTES = Buffer.from(`\xff\xd8\xff${'picture '.repeat(20)}`, 'latin1')
const IMAGE: ImageBytes = {
  type: 'jpeg',
  digest: '0'.repeat(64),
  chunks: [IMAGE_BYTES.subarray(0, 50), IMAGE_BYTES.subarray(50)],
  byteLength: IMAGE_BYTES.length,
}
const CAT: Params = { prompt: 'cat', overlayMask: true }
const TERMS: CallTerms = { retryUntil: Number.POSITIVE_INFINITY, onSubmitted: async () => {} }

interface Setup {
  fake: FakeSegmind
  client: ReturnType<typeof createSegmindClient>
  attempts: UpstreamAttempt[]
  /** Every pause between attempts; none of them takes any time but on the client's clock. */
  pausesMs: number[]
}

async function setUp(t: Test, options: Partial<SegmindClientOptions> = {}): Promise<Setup> {
  const fake = await startFakeSegmind()
  const attempts: UpstreamAttempt[] = []
  const pausesMs: number[] = []
  let skewMs = 0
  const client = createSegmindClient({
    baseUrl: fake.url,
    apiKey: fake.apiKey,
    timeoutMs: 60_000,
    maxConcurrency: 4,
    onAttempt: attempt => attempts.push(attempt),
    random: () => 0,
    now: () => Date.now() + skewMs,
    wait: async ms => {
      pausesMs.push(ms)
      skewMs += ms
    },
    ...options,
  })
  t.teardown(async () => {
    await fake.close()
    await client.close()
  })
  return { fake, client, attempts, pausesMs }
}

const pictureOf = (outcome: UpstreamOutcome): Buffer => {
  if (outcome.kind === 'failed') throw outcome.error
  return outcome.body
}

const failed = (t: Test, outcome: UpstreamOutcome, code: ErrorCode, billed: Billed): Bill => {
  if (outcome.kind !== 'failed') throw new Error('it was answered')
  t.equal(outcome.error.code, code)
  t.equal(outcome.error.billed, billed, 'billed')
  return outcome.bill
}

t.test('a call carries the image and the parameters, and brings the picture and the bill', async t => {
  const { fake, client, attempts } = await setUp(t)
  const outcome = await client.segment(IMAGE, { coordinates: [[834, 74]], overlayMask: false }, TERMS)

  t.match(outcome, {
    kind: 'answered',
    contentType: 'image/jpeg',
    bill: { cost: FAKE_COST, remaining: fake.remaining, upstreamRequestId: 'fake-1' },
  })
  t.match(await sharp(pictureOf(outcome)).metadata(), { format: 'jpeg', width: 8, height: 8 })
  const [call] = fake.calls
  t.equal(call?.image.byteLength, IMAGE_BYTES.length)
  t.same(call?.fields, { coordinates: '[[834,74]]', overlay_mask: false, base64: false })
  t.match(call?.headers, { 'content-type': 'application/json', 'content-length': /^\d+$/, accept: '*/*' })
  t.notOk(call?.headers['transfer-encoding'])
  t.equal(fake.billed, FAKE_COST)
  t.match(attempts, [{ code: 'ok', status: 200, durationMs: Number }])
})

t.test('the base URL may have a path of its own', async t => {
  const fake = await startFakeSegmind()
  t.teardown(() => fake.close())
  const client = createSegmindClient({
    baseUrl: `${fake.url}/proxy/segmind/`,
    apiKey: fake.apiKey,
    timeoutMs: 60_000,
    maxConcurrency: 1,
  })
  t.teardown(() => client.close())
  pictureOf(await client.segment(IMAGE, CAT, TERMS))
  t.equal(fake.calls[0]?.path, '/proxy/segmind/v1/sam-v2-image')
  t.equal((await client.balance()).remaining, fake.remaining)
})

t.test('a key or an address that cannot be used is said at once, without the key', async t => {
  const options = { baseUrl: 'http://127.0.0.1:1', apiKey: 'SG_abc\nx: y', timeoutMs: 1, maxConcurrency: 1 }
  t.throws(() => createSegmindClient(options), { message: /^(?!.*SG_abc).*cannot carry/ })
  t.throws(() => createSegmindClient({ ...options, apiKey: 'SG_abc', baseUrl: 'segmind' }), TypeError)
})

const JPEG = Buffer.from('ffd8ffe000104a464946000101', 'hex')
const FORMS: [title: string, answer: FakeAnswer][] = [
  ['bytes', { body: JPEG }],
  ['bytes under another type', { body: JPEG, headers: { 'content-type': 'application/octet-stream' } }],
  ['bytes under no type', { body: JPEG, headers: { 'content-type': undefined } }],
  ['JSON', { body: { image: JPEG.toString('base64') } }],
  ['a data: URI in JSON', { body: { image: `data:image/jpeg;base64,${JPEG.toString('base64')}` } }],
  ['bare base64', { body: JPEG.toString('base64') }],
]

for (const [title, answer] of FORMS) {
  t.test(`a picture that comes as ${title} is the same picture`, async t => {
    const { fake, client } = await setUp(t)
    fake.script(answer)
    const outcome = await client.segment(IMAGE, CAT, TERMS)
    t.ok(pictureOf(outcome).equals(JPEG))
    t.match(outcome, { contentType: 'image/jpeg', bill: { cost: FAKE_COST } })
  })
}

const FAILURES: {
  title: string
  answer: FakeAnswer
  code: ErrorCode
  billed: Billed
  calls?: number
  cost?: number
}[] = [
  { title: '200 with HTML', answer: { body: '<html>' }, code: 'upstream_failed', billed: 'yes', cost: FAKE_COST },
  { title: '200 without a body', answer: { body: '' }, code: 'upstream_failed', billed: 'yes', cost: FAKE_COST },
  {
    title: '200 with garbage and without a bill',
    answer: { body: 'garbage', headers: { 'x-cost': undefined } },
    code: 'upstream_failed',
    billed: 'yes',
  },
  { title: '200 cut off', answer: { how: 'cut' }, code: 'upstream_failed', billed: 'yes', cost: FAKE_COST },
  {
    title: '200 cut off, without a cost',
    answer: { how: 'cut', headers: { 'x-cost': undefined } },
    code: 'upstream_failed',
    billed: 'unknown',
  },
  { title: 'a reset', answer: { how: 'reset' }, code: 'upstream_failed', billed: 'unknown' },
  { title: '400', answer: { status: 400, body: { error: 'no' } }, code: 'upstream_rejected', billed: 'no' },
  { title: '401', answer: { status: 401, body: { error: 'no' } }, code: 'upstream_unauthorized', billed: 'no' },
  {
    title: '406 for credits',
    answer: { status: 406, body: { error: 'Insufficient credits' } },
    code: 'credits_exhausted',
    billed: 'no',
  },
  { title: '422', answer: { status: 422, body: { detail: 'no' } }, code: 'upstream_rejected', billed: 'no' },
  {
    title: '422 cut off',
    answer: { status: 422, body: 'broken', how: 'cut' },
    code: 'upstream_rejected',
    billed: 'no',
  },
  {
    title: '422 without an end',
    answer: { status: 422, body: 'no '.repeat(90_000) },
    code: 'upstream_rejected',
    billed: 'no',
  },
  {
    title: '500',
    answer: { status: 500, body: { error: 'Internal Polling Error' } },
    code: 'upstream_failed',
    billed: 'no',
    calls: 2,
  },
  { title: '502', answer: { status: 502, body: '<html>' }, code: 'upstream_failed', billed: 'no', calls: 2 },
  { title: '504', answer: { status: 504, body: '' }, code: 'upstream_failed', billed: 'no', calls: 2 },
  // Pauses of 0.125, 0.25, … 16 s; the next one would end after the minute that a call may take.
  { title: '503', answer: { status: 503, body: '' }, code: 'upstream_failed', billed: 'no', calls: 9 },
  {
    title: '503 cut off',
    answer: { status: 503, body: 'down', how: 'cut' },
    code: 'upstream_failed',
    billed: 'no',
    calls: 9,
  },
  { title: '429', answer: { status: 429, body: { error: 'slow' } }, code: 'upstream_busy', billed: 'no', calls: 9 },
]

for (const { title, answer, code, billed, calls = 1, cost } of FAILURES) {
  t.test(`${title} is ${code}, billed ${billed}, after ${calls} call(s)`, async t => {
    const { fake, client, attempts } = await setUp(t)
    fake.script(() => answer)
    const bill = failed(t, await client.segment(IMAGE, CAT, TERMS), code, billed)
    t.equal(fake.calls.length, calls)
    t.equal(bill.cost, cost)
    t.equal(bill.remaining, answer.how === 'reset' ? undefined : fake.remaining)
    t.same(
      attempts.map(attempt => attempt.code),
      Array(calls).fill(code),
    )
    t.equal(client.inFlight, 0)
  })
}

t.test('a redirect is not followed, so that the key does not travel', async t => {
  const { fake, client } = await setUp(t)
  const elsewhere = await startFakeSegmind({ apiKey: fake.apiKey })
  t.teardown(() => elsewhere.close())
  for (const status of [301, 302, 307, 308]) {
    fake.script({ status, headers: { location: `${elsewhere.url}/v1/sam-v2-image` }, body: '' })
    failed(t, await client.segment(IMAGE, CAT, TERMS), 'upstream_failed', 'no')
  }
  t.equal(fake.calls.length, 4)
  t.equal(elsewhere.connections, 0)
})

t.test('an answer larger than the bound is given up, though it is paid', async t => {
  const { fake, client } = await setUp(t, { maxAnswerBytes: 1000 })
  fake.script({ body: Buffer.concat([JPEG, Buffer.alloc(987)]) }, { body: Buffer.concat([JPEG, Buffer.alloc(988)]) })
  t.equal(pictureOf(await client.segment(IMAGE, CAT, TERMS)).length, 1000)
  t.equal(failed(t, await client.segment(IMAGE, CAT, TERMS), 'upstream_failed', 'yes').cost, FAKE_COST)
  pictureOf(await client.segment(IMAGE, CAT, TERMS))
})

t.test('429 and 503 are tried again, and the pauses grow when Segmind says nothing', async t => {
  const { fake, client, attempts, pausesMs } = await setUp(t)
  fake.script({ status: 429, body: '' }, { status: 503, body: '' })
  pictureOf(await client.segment(IMAGE, CAT, TERMS))
  t.equal(fake.calls.length, 3)
  t.same(pausesMs, [125, 250])
  t.match(attempts, [{ code: 'upstream_busy', status: 429 }, { code: 'upstream_failed', status: 503 }, { code: 'ok' }])
})

t.test('every request that goes out once more is told, and why; one that is not is not', async t => {
  const told: string[] = []
  const { fake, client } = await setUp(t, {
    onAgain: why => told.push(why),
    wait: async () => fake.comeUp().catch(() => {}),
    maxConcurrency: 1,
  })
  await fake.goDown()
  pictureOf(await client.segment(IMAGE, CAT, TERMS))
  t.same(told.splice(0), ['unsent'])
  fake.script({ status: 429, body: '' }, { status: 503, body: '' }, { status: 502, body: '' })
  pictureOf(await client.segment(IMAGE, CAT, TERMS))
  t.same(told.splice(0), ['busy', 'busy', 'server error'])
  fake.script({ status: 500, body: '' }, { status: 500, body: '' })
  failed(t, await client.segment(IMAGE, CAT, TERMS), 'upstream_failed', 'no')
  t.same(told.splice(0), ['server error'], 'the second failure is final')
  fake.script({ status: 429, body: '' })
  failed(t, await client.segment(IMAGE, CAT, { ...TERMS, retryUntil: 0 }), 'upstream_busy', 'no')
  t.same(told, [], 'nobody waits for it')
})

t.test('chance spreads the pauses', async t => {
  const { fake, client, pausesMs } = await setUp(t, { random: () => 0.999 })
  fake.script({ status: 429, body: '' }, { status: 429, body: '', headers: { 'retry-after': '2' } })
  pictureOf(await client.segment(IMAGE, CAT, TERMS))
  t.match(pausesMs, [/^249\./, /^2499\./])
})

t.test('pauses are as long as Segmind asks for', async t => {
  const { fake, client, pausesMs } = await setUp(t)
  const reset = new Date(Date.now() + 3_600_000)
  fake.script(
    { status: 503, body: '', headers: { 'retry-after': '7' } },
    // Their clock is an hour ahead of ours.
    {
      status: 429,
      body: '',
      headers: {
        'x-rate-limit-reset-at-utc': new Date(reset.getTime() + 9_000).toISOString(),
        date: reset.toUTCString(),
      },
    },
  )
  pictureOf(await client.segment(IMAGE, CAT, TERMS))
  t.equal(pausesMs[0], 7_000)
  t.ok((pausesMs[1] ?? 0) >= 9_000 && (pausesMs[1] ?? 0) <= 10_000, `${pausesMs[1]}`)
})

t.test('a pause that does not fit into the time of the call is not begun', async t => {
  const { fake, client, pausesMs } = await setUp(t, { timeoutMs: 10_000 })
  fake.script({ status: 429, body: '', headers: { 'retry-after': '20' } })
  const outcome = await client.segment(IMAGE, CAT, TERMS)
  failed(t, outcome, 'upstream_busy', 'no')
  t.equal(outcome.kind === 'failed' && outcome.error.retryAfterSeconds, 20)
  t.same(pausesMs, [])
  t.equal(fake.calls.length, 1)
})

t.test('the time of all attempts and pauses together is bounded', async t => {
  let now = 0
  const { fake, client } = await setUp(t, {
    timeoutMs: 10_000,
    maxAttempts: 99,
    now: () => now,
    wait: async ms => {
      now += ms
    },
  })
  fake.script(() => ({ status: 503, body: '', headers: { 'retry-after': '3' } }))
  failed(t, await client.segment(IMAGE, CAT, TERMS), 'upstream_failed', 'no')
  t.equal(fake.calls.length, 4, 'at 0, 3, 6 and 9 s')
})

t.test("a Segmind that is busy is waited for within the caller's patience only", async t => {
  const { fake, client, pausesMs } = await setUp(t)
  fake.script(() => ({ status: 429, body: '', headers: { 'retry-after': '3' } }))
  const outcome = await client.segment(IMAGE, CAT, { ...TERMS, retryUntil: Date.now() + 8_000 })
  failed(t, outcome, 'upstream_busy', 'no')
  t.equal(outcome.kind === 'failed' && outcome.error.retryAfterSeconds, 3)
  t.same(pausesMs, [3_000, 3_000])
})

t.test(
  'a server error is tried once more, whatever comes then is the answer; RETRY_SERVER_ERRORS=false does not',
  async t => {
    const again = await setUp(t)
    again.fake.script({ status: 500, body: '' })
    pictureOf(await again.client.segment(IMAGE, CAT, TERMS))
    t.equal(again.fake.calls.length, 2)
    again.fake.script({ status: 502, body: '' }, { how: 'reset' })
    failed(t, await again.client.segment(IMAGE, CAT, TERMS), 'upstream_failed', 'unknown')
    t.equal(again.fake.calls.length, 4)
    const once = await setUp(t, { retryServerErrors: false })
    once.fake.script({ status: 500, body: '' })
    failed(t, await once.client.segment(IMAGE, CAT, TERMS), 'upstream_failed', 'no')
    t.equal(once.fake.calls.length, 1)
  },
)

t.test('a refused connection is tried again and may be there then', async t => {
  const { fake, client, attempts } = await setUp(t, { wait: async () => fake.comeUp() })
  await fake.goDown()
  pictureOf(await client.segment(IMAGE, CAT, TERMS))
  t.equal(fake.calls.length, 1)
  t.match(attempts, [{ code: 'upstream_unavailable', status: undefined }, { code: 'ok' }])
})

t.test('a connection that stays refused is upstream_unavailable, and nothing was billed', async t => {
  const { fake, client, attempts, pausesMs } = await setUp(t)
  await fake.goDown()
  const outcome = await client.segment(IMAGE, CAT, TERMS)
  failed(t, outcome, 'upstream_unavailable', 'no')
  t.ok(outcome.kind === 'failed' && outcome.error.retryAfterSeconds)
  t.match(outcome.kind === 'failed' && (outcome.error.cause as Error).message, /ECONNREFUSED/)
  t.equal(attempts.length, 3)
  t.same(pausesMs, [125, 250])
})

t.test('a failed TLS handshake is upstream_unavailable: the request did not go out', async t => {
  const fake = await startFakeSegmind()
  const client = createSegmindClient({
    baseUrl: fake.url.replace('http:', 'https:'),
    apiKey: fake.apiKey,
    timeoutMs: 60_000,
    maxConcurrency: 1,
    wait: async () => {},
  })
  t.teardown(async () => {
    await fake.close()
    await client.close()
  })
  failed(t, await client.segment(IMAGE, CAT, TERMS), 'upstream_unavailable', 'no')
  t.equal(fake.connections, 3)
})

t.test('a keep-alive connection that the server closed costs neither the call nor a second one', async t => {
  const { fake, client } = await setUp(t, { maxConcurrency: 1 })
  for (let round = 1; round <= 20; round++) {
    pictureOf(await client.segment(IMAGE, CAT, TERMS))
    t.equal(fake.calls.length, round)
    fake.dropIdle()
  }
  t.equal(fake.connections, 20)
})

t.test('a connection that the server closes while undici turns to it counts as not used yet', async t => {
  const { fake, client, attempts } = await setUp(t, { maxConcurrency: 1 })
  pictureOf(await client.segment(IMAGE, CAT, TERMS))
  // Published when undici has chosen the socket, just before it asks for the body.
  const onChosen = () => {
    unsubscribe('undici:client:sendHeaders', onChosen)
    fake.dropIdle()
  }
  subscribe('undici:client:sendHeaders', onChosen)
  pictureOf(await client.segment(IMAGE, CAT, TERMS))
  t.equal(fake.calls.length, 2)
  t.equal(fake.connections, 2)
  t.match(attempts, [{ code: 'ok' }, { code: 'upstream_unavailable', status: undefined }, { code: 'ok' }])
})

t.test('a connection that is alive is used again', async t => {
  const { fake, client } = await setUp(t, { maxConcurrency: 1 })
  for (let round = 1; round <= 5; round++) pictureOf(await client.segment(IMAGE, CAT, TERMS))
  t.equal(fake.connections, 1)
})

t.test('no answer in time is upstream_timeout, billed unknown, and the call is not sent again', async t => {
  const deadline = new AbortController()
  const { fake, client, attempts } = await setUp(t, { deadline: () => deadline.signal })
  fake.script({ how: 'hang' })
  const call = client.segment(IMAGE, CAT, TERMS)
  await fake.arrived(1)
  deadline.abort()
  failed(t, await call, 'upstream_timeout', 'unknown')
  t.equal(fake.calls.length, 1)
  t.match(attempts, [{ code: 'upstream_timeout', status: undefined }])
})

t.test('the time of a call is timeoutMs', async t => {
  const asked: number[] = []
  const { fake, client } = await setUp(t, {
    timeoutMs: 100,
    deadline: timeoutMs => {
      asked.push(timeoutMs)
      return AbortSignal.timeout(timeoutMs)
    },
  })
  fake.script({ how: 'hang' })
  failed(t, await client.segment(IMAGE, CAT, TERMS), 'upstream_timeout', 'unknown')
  t.same(asked, [100])
})

/** Ends a call's time when the head of its answer has come in and was read. */
function abortAfterHead(deadline: AbortController): void {
  const onHead = () => {
    unsubscribe('undici:request:headers', onHead)
    setImmediate(() => deadline.abort())
  }
  subscribe('undici:request:headers', onHead)
}

for (const [headers, billed, cost] of [
  [{}, 'yes', FAKE_COST],
  [{ 'x-cost': undefined }, 'unknown', undefined],
] as const) {
  t.test(`an answer that stalls in its body is upstream_timeout, billed ${billed}`, async t => {
    const deadline = new AbortController()
    const { fake, client } = await setUp(t, { deadline: () => deadline.signal })
    fake.script({ how: 'stall', headers })
    abortAfterHead(deadline)
    const bill = failed(t, await client.segment(IMAGE, CAT, TERMS), 'upstream_timeout', billed)
    t.equal(bill.cost, cost)
    t.equal(bill.remaining, fake.remaining)
    t.equal(fake.calls.length, 1)
  })
}

t.test('a call whose time ends before it gets a connection is never sent', async t => {
  const deadlines: AbortController[] = []
  const { fake, client } = await setUp(t, {
    maxConcurrency: 1,
    deadline: () => {
      const deadline = new AbortController()
      deadlines.push(deadline)
      return deadline.signal
    },
  })
  const gate = fake.hold()
  const first = client.segment(IMAGE, CAT, TERMS)
  const second = client.segment(IMAGE, { prompt: 'second', overlayMask: true }, TERMS)
  await fake.arrived(1)
  deadlines[1]?.abort()
  failed(t, await second, 'upstream_unavailable', 'no')
  gate.open()
  pictureOf(await first)
  pictureOf(await client.segment(IMAGE, { prompt: 'third', overlayMask: true }, TERMS))
  t.same(
    fake.calls.map(call => call.fields.prompt),
    ['cat', 'third'],
  )
})

t.test('a hundred calls share the connections that are allowed, and every one is answered', async t => {
  const { fake, client } = await setUp(t, { maxConcurrency: 3 })
  const gate = fake.hold()
  const calls = Array.from({ length: 100 }, (_, n) =>
    client.segment(IMAGE, { prompt: `${n}`, overlayMask: true }, TERMS),
  )
  t.equal(client.inFlight, 100)
  await fake.arrived(3)
  for (let turn = 0; turn < 50; turn++) await nextTurn()
  t.equal(fake.calls.length, 3)
  gate.open()
  const pictures = new Set((await Promise.all(calls)).map(outcome => pictureOf(outcome).toString('base64')))
  t.equal(pictures.size, 100, 'each got its own picture')
  t.equal(fake.peakInFlight, 3)
  t.equal(fake.connections, 3)
  t.equal(fake.billed, 100 * FAKE_COST)
  t.equal(client.inFlight, 0)
})

t.test('closing waits for the calls under way, and takes no other', async t => {
  const { fake, client } = await setUp(t)
  const gate = fake.hold()
  const call = client.segment(IMAGE, CAT, TERMS)
  await fake.arrived(1)
  let closed = false
  const closing = client.close().then(() => {
    closed = true
  })
  failed(t, await client.segment(IMAGE, CAT, TERMS), 'upstream_unavailable', 'no')
  for (let turn = 0; turn < 20; turn++) await nextTurn()
  t.notOk(closed)
  gate.open()
  pictureOf(await call)
  await closing
  t.equal(fake.calls.length, 1)
})

t.test('closing ends a pause, and nothing is sent after it', async t => {
  let paused = (): void => {}
  const pausing = new Promise<void>(resolve => {
    paused = resolve
  })
  const { fake, client } = await setUp(t, {
    wait: async (_ms, signal) => {
      paused()
      await once(signal, 'abort')
    },
  })
  fake.script({ status: 503, body: '' })
  const call = client.segment(IMAGE, CAT, TERMS)
  await pausing
  await client.close()
  failed(t, await call, 'upstream_failed', 'no')
  t.equal(fake.calls.length, 1)
})

t.test('the pause that is built in ends when closing begins', async t => {
  const fake = await startFakeSegmind()
  t.teardown(() => fake.close())
  let answered = (): void => {}
  const attempt = new Promise<void>(resolve => {
    answered = resolve
  })
  const client = createSegmindClient({
    baseUrl: fake.url,
    apiKey: fake.apiKey,
    timeoutMs: 120_000,
    maxConcurrency: 1,
    onAttempt: () => answered(),
  })
  fake.script({ status: 429, body: '', headers: { 'retry-after': '60' } })
  const call = client.segment(IMAGE, CAT, TERMS)
  await attempt
  await nextTurn()
  await client.close()
  failed(t, await call, 'upstream_busy', 'no')
})

t.test('the balance is asked beside the calls that take all connections', async t => {
  const { fake, client } = await setUp(t, { maxConcurrency: 1 })
  const gate = fake.hold()
  const call = client.segment(IMAGE, CAT, TERMS)
  await fake.arrived(1)
  fake.scriptBalance({ body: '{"credits":1.5,"free-credits":0.0184921035}' })
  t.same(await client.balance(), { remaining: 1_518_492_104 })
  t.equal(fake.balanceCalls, 1)
  gate.open()
  pictureOf(await call)
  t.same(await client.balance(), { remaining: fake.remaining })
})

const BALANCE_FAILURES: [title: string, answer: FakeAnswer, code: ErrorCode][] = [
  ['HTML', { body: '<html>' }, 'upstream_failed'],
  ['an empty object', { body: {} }, 'upstream_failed'],
  ['a cut answer', { how: 'cut' }, 'upstream_failed'],
  ['a reset', { how: 'reset' }, 'upstream_unavailable'],
  ['401', { status: 401, body: { error: 'no' } }, 'upstream_unauthorized'],
  ['429', { status: 429, body: '' }, 'upstream_busy'],
  ['500', { status: 500, body: '' }, 'upstream_failed'],
]

for (const [title, answer, code] of BALANCE_FAILURES) {
  t.test(`${title} instead of a balance is ${code}`, async t => {
    const { fake, client } = await setUp(t)
    fake.scriptBalance(answer)
    await t.rejects(client.balance(), { code, billed: 'no' })
    t.equal(fake.balanceCalls, 1)
  })
}

t.test('a balance that does not come in time is upstream_timeout', async t => {
  const { fake, client } = await setUp(t, { timeoutMs: 100 })
  fake.scriptBalance({ how: 'hang' })
  await t.rejects(client.balance(), { code: 'upstream_timeout' })
})

const LARGE_BYTES = Buffer.alloc(8_000_000, 'large picture ')
const LARGE: ImageBytes = {
  ...IMAGE,
  chunks: Array.from({ length: 123 }, (_, n) => LARGE_BYTES.subarray(n * 65_537, (n + 1) * 65_537)),
  byteLength: LARGE_BYTES.length,
}

t.test('an image larger than any socket buffer arrives whole', async t => {
  const { fake, client } = await setUp(t)
  pictureOf(await client.segment(LARGE, CAT, TERMS))
  t.equal(fake.calls[0]?.image.digest, createHash('sha256').update(LARGE_BYTES).digest('hex'))
})

t.test('a refusal that comes before the body is through is understood', async t => {
  const { fake, client } = await setUp(t, { apiKey: 'SG_another' })
  failed(t, await client.segment(LARGE, CAT, TERMS), 'upstream_unauthorized', 'no')
  t.equal(fake.unauthorized, 1)
  failed(t, await client.segment(IMAGE, CAT, TERMS), 'upstream_unauthorized', 'no')
})

t.test('a server that stops taking the body does not hold the call beyond its time', async t => {
  const deadline = new AbortController()
  const server = createServer(socket => void socket.on('error', () => {}))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { client } = await setUp(t, { baseUrl, deadline: () => deadline.signal })
  server.once('connection', socket => {
    t.teardown(() => socket.destroy())
    socket.once('readable', () => deadline.abort())
  })
  const call = client.segment(LARGE, CAT, TERMS)
  failed(t, await call, 'upstream_timeout', 'unknown')
})

/** Answers whatever comes with one text, which need not be HTTP. */
async function startRaw(t: Test, text: string): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => {}).once('data', () => socket.end(text))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('the key is in no error, however Segmind repeats it', async t => {
  const { fake, client } = await setUp(t)
  const echo = `the key ${fake.apiKey} is wrong`
  for (const status of [200, 400, 401, 403, 404, 406, 410, 422, 429, 500, 503, 302]) {
    for (const body of [{ error: echo }, { detail: { message: echo } }, echo, `<p>${echo}</p>`]) {
      fake.script(() => ({ status, body, headers: { 'x-echo': fake.apiKey } }))
      const outcome = await client.segment(IMAGE, CAT, TERMS)
      t.notOk(inspect(outcome, { depth: Infinity, showHidden: true }).includes(fake.apiKey), `${status}`)
    }
    fake.scriptBalance({ status, body: { error: echo } })
    const error = await client.balance().catch(reason => reason)
    t.notOk(inspect(error, { depth: Infinity, showHidden: true }).includes(fake.apiKey), `balance ${status}`)
  }
})

t.test('an answer that is no HTTP is upstream_failed, billed unknown, and not repeated in the error', async t => {
  for (const text of ['SG_00112233aabbccdd\r\n\r\n', 'HTTP/1.1 2OO SG_00112233aabbccdd\r\n\r\n', '']) {
    const baseUrl = await startRaw(t, text)
    const { client, attempts } = await setUp(t, { baseUrl })
    const outcome = await client.segment(IMAGE, CAT, TERMS)
    failed(t, outcome, 'upstream_failed', 'unknown')
    t.equal(attempts.length, 1)
    t.notMatch(inspect(outcome, { depth: Infinity, showHidden: true }), /SG_00112233/)
  }
})
