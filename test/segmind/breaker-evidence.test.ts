import t, { type Test } from 'tap'
import { type ErrorCode, GatewayError } from '../../src/contracts/errors.js'
import type { ImageBytes } from '../../src/contracts/types.js'
import type { UpstreamOutcome } from '../../src/segment/ports.js'
import { createBreaker } from '../../src/segmind/breaker.js'
import { createSegmindClient } from '../../src/segmind/client.js'
import { type FakeAnswer, startFakeSegmind } from '../support/doubles/fake-segmind.js'

const GOOD: UpstreamOutcome = { kind: 'answered', body: Buffer.alloc(0), contentType: 'image/jpeg', bill: {} }
const bad = (code: ErrorCode = 'upstream_failed'): UpstreamOutcome => ({
  kind: 'failed',
  error: new GatewayError(code, 'it failed'),
  bill: {},
})

/**
 * Creates pauses that end when `end` is called. A call before the pause begins ends it at its
 * beginning.
 */
function pauses() {
  let endsAtOnce = false
  let wake: (() => void) | undefined
  return {
    wait: (_ms: number, signal: AbortSignal) =>
      new Promise<void>(resolve => {
        signal.addEventListener('abort', () => resolve())
        if (endsAtOnce) resolve()
        else wake = resolve
        endsAtOnce = false
      }),
    end: () => {
      if (!wake) endsAtOnce = true
      wake?.()
      wake = undefined
    },
  }
}

function createProbedBreaker(t: Test) {
  const { wait, end } = pauses()
  let changed = (): void => {}
  const breaker = createBreaker({
    probe: async () => GOOD,
    wait,
    now: () => 0,
    random: () => 1,
    onChange: () => changed(),
  })
  t.teardown(() => breaker.close())
  let questions = 0
  const fail = async (times: number) => {
    for (let time = 0; time < times; time++) await breaker.run(`question ${questions++}`, async () => bad())
  }
  const probed = async () => {
    const closed = new Promise<void>(resolve => {
      changed = () => breaker.state === 'closed' && resolve()
    })
    end()
    await closed
  }
  return { breaker, fail, probed }
}

const REFUSALS: ErrorCode[] = ['upstream_busy', 'upstream_rejected', 'upstream_unauthorized', 'credits_exhausted']

for (const code of REFUSALS) {
  t.test(`${code} does not interrupt a series of failures`, async t => {
    const { breaker, fail } = createProbedBreaker(t)
    await fail(4)
    await breaker.run('refused', async () => bad(code))
    t.equal(breaker.state, 'closed')
    await fail(1)
    t.equal(breaker.state, 'open')
  })

  t.test(`${code} after a successful probe does not restore the full threshold`, async t => {
    const { breaker, fail, probed } = createProbedBreaker(t)
    await fail(5)
    await probed()
    await breaker.run('refused', async () => bad(code))
    t.equal(breaker.state, 'closed')
    await fail(1)
    t.equal(breaker.state, 'open')
  })
}

t.test('a call that began before the breaker opened and fails after the probe does not open it again', async t => {
  const { breaker, fail, probed } = createProbedBreaker(t)
  const ends: ((outcome: UpstreamOutcome) => void)[] = []
  const begin = () => breaker.run(`slow ${ends.length}`, () => new Promise(resolve => ends.push(resolve)))
  const [first, second] = [begin(), begin()]
  await fail(5)
  await probed()
  ends[0]?.(bad('upstream_timeout'))
  await first
  t.equal(breaker.state, 'closed')
  ends[1]?.(GOOD)
  await second
  await fail(4)
  t.equal(breaker.state, 'closed', 'a success counts whenever the call began')
})

t.test('a wall clock that is set back does not keep the breaker open', async t => {
  const { breaker, fail, probed } = createProbedBreaker(t)
  await fail(5)
  const { now } = Date
  t.teardown(() => Object.assign(Date, { now }))
  Date.now = () => now() - 3_600_000
  await probed()
  t.equal(breaker.state, 'closed')
})

const BYTES = Buffer.from('\xff\xd8\xffpicture', 'latin1')
const IMAGE: ImageBytes = { type: 'jpeg', digest: '0'.repeat(64), chunks: [BYTES], byteLength: BYTES.length }

async function setUp(t: Test) {
  const fake = await startFakeSegmind()
  const { wait, end } = pauses()
  const states: string[] = []
  let changed = (): void => {}
  const client = createSegmindClient({
    baseUrl: fake.url,
    apiKey: fake.apiKey,
    timeoutMs: 60_000,
    maxConcurrency: 4,
    wait: async () => {},
    waitToProbe: wait,
    observer: {
      breakerChanged: state => {
        states.push(state)
        changed()
      },
    },
  })
  t.teardown(async () => {
    await client.close()
    await fake.close()
  })
  let questions = 0
  const ask = (question = `question ${questions++}`) =>
    client.segment(IMAGE, { prompt: 'cat', overlayMask: true }, { question, onSubmitted: async () => {} })
  const callFive = async (answer: FakeAnswer) => {
    fake.script(...Array<FakeAnswer>(5).fill(answer))
    for (let time = 0; time < 5; time++) await ask()
  }
  const probe = async () => {
    const ended = new Promise<void>(resolve => {
      changed = () => states.at(-1) !== 'probing' && resolve()
    })
    end()
    await ended
  }
  return { fake, client, states, ask, callFive, probe }
}

for (const status of [400, 401, 403, 404, 405, 406, 410, 422]) {
  t.test(`a ${status} from Segmind is no outage: the breaker stays closed`, async t => {
    const { fake, client, callFive } = await setUp(t)
    await callFive({ status, body: { error: 'Invalid content type' } })
    t.equal(fake.calls.length, 5)
    t.equal(client.breaker, 'closed')
  })
}

t.test('one question that fails again and again does not open the breaker for the others', async t => {
  const { fake, client, ask } = await setUp(t)
  fake.script(...Array<FakeAnswer>(12).fill({ body: 'no picture' }))
  for (let time = 0; time < 8; time++) await ask('the same')
  t.equal(client.breaker, 'closed')
  for (let time = 0; time < 3; time++) await ask()
  t.equal(client.breaker, 'closed', 'four questions have failed')
  await ask()
  t.equal(client.breaker, 'open', 'the fifth has failed')
})

t.test('calls that do not reach Segmind open the breaker whatever they ask', async t => {
  const { fake, client, ask } = await setUp(t)
  await fake.close()
  for (let time = 0; time < 5; time++) await ask('the same')
  t.equal(client.breaker, 'open')
})

t.test('an open breaker requests the balance and sends nothing that costs credits', async t => {
  const { fake, client, states, ask, callFive, probe } = await setUp(t)
  await callFive({ how: 'reset' })
  t.equal(client.breaker, 'open')
  t.throws(() => client.admit(), { code: 'upstream_unavailable', billed: 'no', retryAfterSeconds: Number })
  t.match(await ask(), { kind: 'failed', error: { code: 'upstream_unavailable', billed: 'no' }, bill: {} })
  fake.scriptBalance({ status: 500, body: '' }, { how: 'reset' }, { body: '<html>' })
  for (let round = 1; round <= 3; round++) {
    await probe()
    t.equal(client.breaker, 'open')
    t.equal(fake.balanceCalls, round)
  }
  t.equal(fake.calls.length, 5)
  await probe()
  t.same(states, ['open', ...Array(3).fill(['probing', 'open']).flat(), 'probing', 'closed'])
  client.admit()
  t.equal((await ask()).kind, 'answered')
  t.equal(fake.calls.length, 6)
  t.equal(fake.balanceCalls, 4)
})

t.test('a probe that gets 404 or 429 closes the breaker', async t => {
  for (const status of [404, 429]) {
    const { fake, client, callFive, probe } = await setUp(t)
    await callFive({ how: 'reset' })
    fake.scriptBalance({ status, body: '' })
    await probe()
    t.equal(client.breaker, 'closed', `${status}`)
  }
})
