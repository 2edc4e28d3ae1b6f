import { createHash } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { inspect } from 'node:util'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import type { Billed, ErrorCode } from '../../src/contracts/errors.js'
import type { ImageBytes, Params } from '../../src/contracts/types.js'
import type { Bill, CallTerms, UpstreamOutcome } from '../../src/segment/ports.js'
import type { UpstreamAttempt } from '../../src/segment/upstream-port.js'
import { createSegmindClient, type SegmindClientOptions } from '../../src/segmind/client.js'
import {
  FAKE_COST,
  type FakeAnswer,
  type FakeSegmind,
  startFakeSegmind,
  TINY_JPEG,
} from '../support/doubles/fake-segmind.js'

const IMAGE_BYTES = Buffer.from(`\xff\xd8\xff${'picture '.repeat(20)}`, 'latin1')
const IMAGE: ImageBytes = {
  type: 'jpeg',
  digest: '0'.repeat(64),
  chunks: [IMAGE_BYTES.subarray(0, 50), IMAGE_BYTES.subarray(50)],
  byteLength: IMAGE_BYTES.length,
}
const CAT: Params = { prompt: 'cat', overlayMask: true }
const TERMS: CallTerms = { question: 'q', onSubmitted: async () => {} }

interface Setup {
  fake: FakeSegmind
  client: ReturnType<typeof createSegmindClient>
  attempts: UpstreamAttempt[]
  /** Pauses between attempts. They only advance the client's clock. */
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
    observer: { upstreamAttempted: attempt => attempts.push(attempt) },
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
  if (outcome.kind !== 'failed') throw new Error('the call succeeded')
  t.equal(outcome.error.code, code)
  t.equal(outcome.error.billed, billed, 'billed')
  return outcome.bill
}

t.test('a call sends the image and the parameters and returns the picture and the bill', async t => {
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

t.test('the base URL may have a path', async t => {
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

t.test('an unusable key or URL throws at creation, without the key in the message', async t => {
  const options = { baseUrl: 'http://127.0.0.1:1', apiKey: 'SG_abc\nx: y', timeoutMs: 1, maxConcurrency: 1 }
  t.throws(() => createSegmindClient(options), { message: /^(?!.*SG_abc).*cannot carry/ })
  t.throws(() => createSegmindClient({ ...options, apiKey: 'SG_abc', baseUrl: 'segmind' }), TypeError)
})

const FORMS: [title: string, answer: FakeAnswer][] = [
  ['bytes', { body: TINY_JPEG }],
  ['bytes with another content type', { body: TINY_JPEG, headers: { 'content-type': 'application/octet-stream' } }],
  ['bytes without a content type', { body: TINY_JPEG, headers: { 'content-type': undefined } }],
  ['JSON', { body: { image: TINY_JPEG.toString('base64') } }],
  ['a data: URI in JSON', { body: { image: `data:image/jpeg;base64,${TINY_JPEG.toString('base64')}` } }],
  ['bare base64', { body: TINY_JPEG.toString('base64') }],
]

for (const [title, answer] of FORMS) {
  t.test(`a picture sent as ${title} is read`, async t => {
    const { fake, client } = await setUp(t)
    fake.script(answer)
    const outcome = await client.segment(IMAGE, CAT, TERMS)
    t.ok(pictureOf(outcome).equals(TINY_JPEG))
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
  { title: '503', answer: { status: 503, body: '' }, code: 'upstream_failed', billed: 'no' },
  {
    title: '503 cut off',
    answer: { status: 503, body: 'down', how: 'cut' },
    code: 'upstream_failed',
    billed: 'no',
  },
  { title: '429', answer: { status: 429, body: { error: 'slow' } }, code: 'upstream_busy', billed: 'no' },
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

t.test('a redirect is not followed, so that the key goes to no other host', async t => {
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

t.test('a response above the size limit fails and is billed', async t => {
  const { fake, client } = await setUp(t, { maxAnswerBytes: 1000 })
  const sized = (bytes: number) => ({ body: Buffer.concat([TINY_JPEG, Buffer.alloc(bytes - TINY_JPEG.length)]) })
  fake.script(sized(1000), sized(1001))
  t.equal(pictureOf(await client.segment(IMAGE, CAT, TERMS)).length, 1000)
  t.equal(failed(t, await client.segment(IMAGE, CAT, TERMS), 'upstream_failed', 'yes').cost, FAKE_COST)
  pictureOf(await client.segment(IMAGE, CAT, TERMS))
})

t.test('429 and 503 are left to the queue, with the wait that Segmind requests', async t => {
  const { fake, client, pausesMs } = await setUp(t)
  const reset = new Date(Date.now() + 3_600_000)
  fake.script(
    { status: 429, body: '' },
    { status: 503, body: '', headers: { 'retry-after': '7' } },
    // Segmind's clock is one hour ahead.
    {
      status: 429,
      body: '',
      headers: {
        'x-rate-limit-reset-at-utc': new Date(reset.getTime() + 9_000).toISOString(),
        date: reset.toUTCString(),
      },
    },
  )
  t.same(await busyOf(client), {})
  t.same(await busyOf(client), { waitMs: 7_000 })
  const { waitMs = 0 } = (await busyOf(client)) ?? {}
  t.ok(waitMs >= 9_000 && waitMs <= 10_000, `${waitMs}`)
  t.equal(fake.calls.length, 3)
  t.same(pausesMs, [])
  fake.script({ status: 500, body: '' }, { status: 500, body: '' })
  t.equal(await busyOf(client), undefined, 'a server error is no sign of a busy Segmind')
})

t.test('a response other than 200 that states a cost may have been billed, and is never repeated', async t => {
  for (const status of [400, 406, 429, 500, 503]) {
    const { fake, client } = await setUp(t)
    fake.script({ status, body: '', headers: { 'x-cost': '0.0017' } })
    const outcome = await client.segment(IMAGE, CAT, TERMS)
    t.match(outcome, { kind: 'failed', error: { billed: 'unknown' }, busy: undefined }, `${status}`)
    t.equal(fake.calls.length, 1)
    fake.script({ status: 422, body: '', headers: { 'x-cost': '0' } })
    t.match(await client.segment(IMAGE, CAT, TERMS), { error: { billed: 'no' } }, 'a cost of 0')
  }
})

async function busyOf(client: Setup['client']) {
  const outcome = await client.segment(IMAGE, CAT, TERMS)
  return outcome.kind === 'failed' ? outcome.busy : undefined
}

t.test('the observer receives the reason of every retry', async t => {
  const reasons: string[] = []
  const { fake, client } = await setUp(t, {
    observer: { upstreamRetried: reason => reasons.push(reason) },
    wait: async () => fake.goOnline().catch(() => {}),
    maxConcurrency: 1,
  })
  await fake.goOffline()
  pictureOf(await client.segment(IMAGE, CAT, TERMS))
  t.same(reasons.splice(0), ['unsent'])
  fake.script({ status: 500, body: '' }, { status: 500, body: '' })
  failed(t, await client.segment(IMAGE, CAT, TERMS), 'upstream_failed', 'no')
  t.same(reasons.splice(0), ['server error'], 'the second server error is final')
})

t.test('pauses grow and have jitter', async t => {
  const { fake, client, pausesMs } = await setUp(t, { random: () => 0.999, maxAttempts: 4 })
  await fake.goOffline()
  failed(t, await client.segment(IMAGE, CAT, TERMS), 'upstream_unavailable', 'no')
  t.match(pausesMs, [/^249\./, /^499\./, /^999\./])
})

t.test('attempts and pauses together stay within the deadline', async t => {
  const { fake, client, pausesMs } = await setUp(t, { timeoutMs: 1_000, maxAttempts: 99 })
  await fake.goOffline()
  failed(t, await client.segment(IMAGE, CAT, TERMS), 'upstream_unavailable', 'no')
  t.same(pausesMs, [125, 250, 500], 'the next pause would exceed the deadline')
})

t.test('a server error is retried once, and not with RETRY_SERVER_ERRORS=false', async t => {
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
})

t.test('a refused connection is retried', async t => {
  const { fake, client, attempts } = await setUp(t, { wait: async () => fake.goOnline() })
  await fake.goOffline()
  pictureOf(await client.segment(IMAGE, CAT, TERMS))
  t.equal(fake.calls.length, 1)
  t.match(attempts, [{ code: 'upstream_unavailable', status: undefined }, { code: 'ok' }])
})

t.test('a connection that stays refused is upstream_unavailable and not billed', async t => {
  const { fake, client, attempts, pausesMs } = await setUp(t)
  await fake.goOffline()
  const outcome = await client.segment(IMAGE, CAT, TERMS)
  failed(t, outcome, 'upstream_unavailable', 'no')
  t.ok(outcome.kind === 'failed' && outcome.error.retryAfterSeconds)
  t.match(outcome.kind === 'failed' && (outcome.error.cause as Error).message, /ECONNREFUSED/)
  t.equal(attempts.length, 3)
  t.same(pausesMs, [125, 250])
})

t.test('a failed TLS handshake is upstream_unavailable, because nothing was sent', async t => {
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

t.test('a closed keep-alive connection neither fails the call nor causes a second one', async t => {
  const { fake, client } = await setUp(t, { maxConcurrency: 1 })
  for (let round = 1; round <= 20; round++) {
    pictureOf(await client.segment(IMAGE, CAT, TERMS))
    t.equal(fake.calls.length, round)
    fake.closeIdleSockets()
  }
  t.equal(fake.connections, 20)
})

t.test('a connection that closes while undici selects it counts as not used', async t => {
  const { fake, client, attempts } = await setUp(t, { maxConcurrency: 1 })
  pictureOf(await client.segment(IMAGE, CAT, TERMS))
  // Published when undici has selected the socket, just before it requests the body.
  const onSelected = () => {
    unsubscribe('undici:client:sendHeaders', onSelected)
    fake.closeIdleSockets()
  }
  subscribe('undici:client:sendHeaders', onSelected)
  pictureOf(await client.segment(IMAGE, CAT, TERMS))
  t.equal(fake.calls.length, 2)
  t.equal(fake.connections, 2)
  t.match(attempts, [{ code: 'ok' }, { code: 'upstream_unavailable', status: undefined }, { code: 'ok' }])
})

t.test('an open connection is reused', async t => {
  const { fake, client } = await setUp(t, { maxConcurrency: 1 })
  for (let round = 1; round <= 5; round++) pictureOf(await client.segment(IMAGE, CAT, TERMS))
  t.equal(fake.connections, 1)
})

t.test('a missing response is upstream_timeout with unknown billing, and the call is not resent', async t => {
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

t.test('the deadline of a call is timeoutMs', async t => {
  const requestedMs: number[] = []
  const { fake, client } = await setUp(t, {
    timeoutMs: 100,
    deadline: timeoutMs => {
      requestedMs.push(timeoutMs)
      return AbortSignal.timeout(timeoutMs)
    },
  })
  fake.script({ how: 'hang' })
  failed(t, await client.segment(IMAGE, CAT, TERMS), 'upstream_timeout', 'unknown')
  t.same(requestedMs, [100])
})

/** Aborts the deadline once the head of the response has been read. */
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
  t.test(`a response that stalls in its body is upstream_timeout, billed ${billed}`, async t => {
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

t.test('a call whose deadline passes before it gets a connection is never sent', async t => {
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

t.test('a hundred calls share the allowed connections and all succeed', async t => {
  const { fake, client } = await setUp(t, { maxConcurrency: 3 })
  const gate = fake.hold()
  const calls = Array.from({ length: 100 }, (_, n) =>
    client.segment(IMAGE, { prompt: `${n}`, overlayMask: true }, TERMS),
  )
  t.equal(client.inFlight, 100)
  await fake.arrived(3)
  for (let tick = 0; tick < 50; tick++) await nextTurn()
  t.equal(fake.calls.length, 3)
  gate.open()
  const pictures = new Set((await Promise.all(calls)).map(outcome => pictureOf(outcome).toString('base64')))
  t.equal(pictures.size, 100, 'each call gets its own picture')
  t.equal(fake.peakInFlight, 3)
  t.equal(fake.connections, 3)
  t.equal(fake.billed, 100 * FAKE_COST)
  t.equal(client.inFlight, 0)
})

t.test('closing waits for calls in flight and rejects new ones', async t => {
  const { fake, client } = await setUp(t)
  const gate = fake.hold()
  const call = client.segment(IMAGE, CAT, TERMS)
  await fake.arrived(1)
  let closed = false
  const closing = client.close().then(() => {
    closed = true
  })
  failed(t, await client.segment(IMAGE, CAT, TERMS), 'upstream_unavailable', 'no')
  for (let tick = 0; tick < 20; tick++) await nextTurn()
  t.notOk(closed)
  gate.open()
  pictureOf(await call)
  await closing
  t.equal(fake.calls.length, 1)
})

t.test('closing ends a pause without another attempt', async t => {
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
  fake.script({ status: 500, body: '' })
  const call = client.segment(IMAGE, CAT, TERMS)
  await pausing
  await client.close()
  failed(t, await call, 'upstream_failed', 'no')
  t.equal(fake.calls.length, 1)
})

t.test('a balance request does not wait for calls that use all connections', async t => {
  const { fake, client } = await setUp(t, { maxConcurrency: 1 })
  const gate = fake.hold()
  const call = client.segment(IMAGE, CAT, TERMS)
  await fake.arrived(1)
  fake.scriptBalance({ body: '{"credits":1.5,"free-credits":0.0184921035}' })
  t.same(await client.balance(), { remaining: 1_518_492_104, free: 18_492_104 })
  t.equal(fake.balanceCalls, 1)
  gate.open()
  pictureOf(await call)
  t.same(await client.balance(), { remaining: fake.remaining, free: fake.remaining })
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

t.test('a missing balance response is upstream_timeout', async t => {
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

t.test('an image larger than any socket buffer arrives complete', async t => {
  const { fake, client } = await setUp(t)
  pictureOf(await client.segment(LARGE, CAT, TERMS))
  t.equal(fake.calls[0]?.image.digest, createHash('sha256').update(LARGE_BYTES).digest('hex'))
})

t.test('a refusal that arrives before the body is sent is read', async t => {
  const { fake, client } = await setUp(t, { apiKey: 'SG_another' })
  failed(t, await client.segment(LARGE, CAT, TERMS), 'upstream_unauthorized', 'no')
  t.equal(fake.unauthorized, 1)
  failed(t, await client.segment(IMAGE, CAT, TERMS), 'upstream_unauthorized', 'no')
})

t.test('a server that stops reading the body does not delay the call past its deadline', async t => {
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

/** Starts a server that responds to any data with a fixed text. */
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

t.test('no error contains the key, even if Segmind repeats it', async t => {
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

t.test('a response other than HTTP is upstream_failed with unknown billing, and is not in the error', async t => {
  for (const text of ['SG_00112233aabbccdd\r\n\r\n', 'HTTP/1.1 2OO SG_00112233aabbccdd\r\n\r\n', '']) {
    const baseUrl = await startRaw(t, text)
    const { client, attempts } = await setUp(t, { baseUrl })
    const outcome = await client.segment(IMAGE, CAT, TERMS)
    failed(t, outcome, 'upstream_failed', 'unknown')
    t.equal(attempts.length, 1)
    t.notMatch(inspect(outcome, { depth: Infinity, showHidden: true }), /SG_00112233/)
  }
})
