import { once } from 'node:events'
import t, { type Test } from 'tap'
import type { ImageBytes, Params } from '../../src/contracts/types.js'
import type { CallTerms, UpstreamOutcome } from '../../src/segment/ports.js'
import { createSegmindClient, type SegmindClientOptions } from '../../src/segmind/client.js'
import { FAKE_COST, startFakeSegmind, TINY_JPEG } from '../support/doubles/fake-segmind.js'
import { eventually } from '../support/eventually.js'

const BYTES = Buffer.from('\xff\xd8\xffpicture', 'latin1')
const IMAGE: ImageBytes = { type: 'jpeg', digest: '0'.repeat(64), chunks: [BYTES], byteLength: BYTES.length }
const CAT: Params = { prompt: 'cat', overlayMask: true }

async function setUp(t: Test, options: Partial<SegmindClientOptions> = {}) {
  const fake = await startFakeSegmind()
  const pausesMs: number[] = []
  const submitted: string[] = []
  const attempts: string[] = []
  const client = createSegmindClient({
    baseUrl: fake.url,
    apiKey: fake.apiKey,
    api: 'v2',
    timeoutMs: 60_000,
    maxConcurrency: 4,
    random: () => 0,
    wait: async ms => {
      pausesMs.push(ms)
      // Lets timers and sockets run, as a real pause does.
      await new Promise(resolve => setImmediate(resolve))
    },
    observer: { upstreamAttempted: ({ code }) => attempts.push(code) },
    ...options,
  })
  t.teardown(async () => {
    await client.close()
    await fake.close()
  })
  const terms: CallTerms = {
    question: 'q',
    onSubmitted: async jobId => void submitted.push(jobId),
  }
  return { fake, client, pausesMs, submitted, attempts, ask: () => client.segment(IMAGE, CAT, terms), terms }
}

const failed = (outcome: UpstreamOutcome) => {
  if (outcome.kind === 'answered') throw new Error('the call succeeded')
  const { code, billed, message } = outcome.error
  return { code, billed, message, bill: outcome.bill }
}

t.test('a job is submitted once, polled, and its picture fetched without the key', async t => {
  const { fake, ask, pausesMs, submitted, attempts } = await setUp(t)
  fake.script({ body: TINY_JPEG, job: { polls: 5 } })
  const outcome = await ask()
  t.match(outcome, {
    kind: 'answered',
    contentType: 'image/jpeg',
    bill: { cost: FAKE_COST, remaining: fake.remaining, upstreamRequestId: 'job-1' },
  })
  t.ok(outcome.kind === 'answered' && outcome.body.equals(TINY_JPEG))
  t.equal(fake.calls.length, 1)
  t.match(fake.calls[0], { path: '/v2/sam-v2-image', fields: { prompt: 'cat', overlay_mask: true, base64: false } })
  t.same(submitted, ['job-1'])
  t.same(fake.outputs, [{ key: undefined }])
  t.equal(fake.unauthorized, 0)
  t.same(pausesMs, [1_000, 1_500, 2_250, 3_375, 5_000], 'pauses grow to at most 5 s')
  t.same(attempts, ['ok'], 'polls do not count as attempts')
})

t.test('a job is reported before its first poll, and polled even if the report fails', async t => {
  const { fake, client, terms } = await setUp(t)
  let pollsAtReport = -1
  const outcome = await client.segment(IMAGE, CAT, {
    ...terms,
    onSubmitted: async () => {
      pollsAtReport = fake.polls.length
      throw new Error('the ledger is down')
    },
  })
  t.equal(outcome.kind, 'answered')
  t.equal(pollsAtReport, 0)
})

t.test('a failed job is not billed and carries the reason from Segmind', async t => {
  const { fake, ask } = await setUp(t)
  fake.script({ job: { error: 'nothing to see in SG_00112233aabbccdd' } })
  const outcome = failed(await ask())
  t.match(outcome, { code: 'upstream_rejected', billed: 'no' })
  t.match(outcome.message, 'nothing to see')
  t.notMatch(outcome.message, 'SG_0011')
  t.equal(outcome.bill.cost, undefined)
})

t.test('failed polls do not fail the job', async t => {
  const { fake, ask } = await setUp(t)
  const firstPolls = [
    { status: 500, body: '' },
    { status: 429, body: '' },
    { status: 503, body: '<html>' },
    { how: 'reset' as const },
    { how: 'cut' as const, body: '{"status":"FAILED"}' },
    { body: 'no json' },
  ]
  fake.script({ job: { firstPolls } })
  t.equal((await ask()).kind, 'answered')
  t.equal(fake.calls.length, 1)
})

t.test('a job that Segmind no longer knows has unknown billing', async t => {
  const { client } = await setUp(t)
  t.match(failed(await client.resume('job-77')), { code: 'upstream_failed', billed: 'unknown' })
})

t.test('a job that misses its deadline is upstream_timeout and can be resumed without a new submission', async t => {
  let expire = (): void => {}
  const { fake, client, ask } = await setUp(t, {
    timeoutMs: 60_000,
    deadline: ms => {
      const ending = new AbortController()
      if (ms === 60_000) expire = () => ending.abort(new Error('over'))
      return ending.signal
    },
    wait: async ms => {
      if (ms > 3_000) expire()
    },
  })
  fake.script({ job: { polls: 6 } })
  t.match(failed(await ask()), { code: 'upstream_timeout', billed: 'unknown', bill: { upstreamRequestId: 'job-1' } })
  t.match(await client.resume('job-1'), { kind: 'answered', bill: { cost: FAKE_COST } })
  t.equal(fake.calls.length, 1)
  t.equal(fake.billed, FAKE_COST)
})

t.test('a picture on another host is fetched through fetchOutput, not with the shared key', async t => {
  const urls: string[] = []
  const { fake, ask } = await setUp(t, {
    fetchOutput: async url => {
      urls.push(url)
      if (urls.length < 3) throw new Error('not yet')
      return TINY_JPEG
    },
  })
  fake.script({ job: { output: 'https://pictures.example/out.jpg?x=1' } })
  const outcome = await ask()
  t.ok(outcome.kind === 'answered' && outcome.body.equals(TINY_JPEG), 'the fetch is retried')
  t.same(urls, Array(3).fill('https://pictures.example/out.jpg?x=1'))
})

t.test('a completed job without a readable picture was billed', async t => {
  const { fake, ask } = await setUp(t)
  fake.script({ body: Buffer.from('<html>'), job: {} }, { job: { output: undefined } })
  for (let time = 0; time < 2; time++)
    t.match(failed(await ask()), { code: 'upstream_failed', billed: 'yes', bill: { cost: FAKE_COST } })
})

t.test('a submission is retried under the same rules as any call', async t => {
  const { fake, ask } = await setUp(t)
  fake.script({ status: 429, body: '' }, { status: 500, body: '' }, {})
  t.match(await ask(), { kind: 'failed', error: { code: 'upstream_busy' }, busy: {} })
  t.equal((await ask()).kind, 'answered')
  t.equal(fake.calls.length, 3)
  fake.script({ how: 'reset' })
  t.match(failed(await ask()), { code: 'upstream_failed', billed: 'unknown' })
  fake.script({ status: 422, body: { error: 'bad points' } })
  t.match(failed(await ask()), { code: 'upstream_rejected', billed: 'no' })
  t.equal(fake.calls.length, 5)
})

t.test('a submission without a usable id has unknown billing and is not repeated', async t => {
  const { fake, ask } = await setUp(t)
  const bodies = [{}, { request_id: '../../v1/get-user-credits' }, { request_id: 7 }, 'no json', { request_id: '' }]
  for (const body of bodies) {
    // An explicit `how: 'answer'` sends the body unchanged.
    fake.script({ how: 'answer', body })
    t.match(failed(await ask()), { code: 'upstream_failed', billed: 'unknown' }, JSON.stringify(body))
  }
  t.equal(fake.calls.length, bodies.length)
  t.equal(fake.polls.length, 0)
})

t.test('an invalid id is never put into a URL', async t => {
  const { fake, client } = await setUp(t)
  for (const id of ['../secret', 'a/b', '', '%2e%2e', 'x'.repeat(200)])
    t.match(failed(await client.resume(id)), { code: 'upstream_failed', billed: 'unknown' })
  t.same(fake.polls, [])
})

t.test('a job of v2 cannot be resumed with v1', async t => {
  const { fake, client } = await setUp(t, { api: 'v1' })
  t.match(failed(await client.resume('job-1')), { code: 'upstream_failed', billed: 'unknown' })
  t.same(fake.polls, [])
})

t.test('closing ends the polling, and another process can resume the job', async t => {
  const { fake, client, ask } = await setUp(t, {
    wait: async (_ms, signal) => {
      if (!signal.aborted) await once(signal, 'abort')
    },
  })
  fake.script({ job: { polls: 1 } })
  const call = ask()
  await eventually('the job was never polled', () => fake.polls.length > 0)
  await client.close()
  t.match(failed(await call), { code: 'upstream_timeout', billed: 'unknown' })
})
