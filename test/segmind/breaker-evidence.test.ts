import t, { type Test } from 'tap'
import { type ErrorCode, GatewayError } from '../../src/errors.js'
import type { UpstreamOutcome } from '../../src/segment/ports.js'
import type { ImageBytes } from '../../src/segment/types.js'
import { createBreaker } from '../../src/segmind/breaker.js'
import { createSegmindClient } from '../../src/segmind/client.js'
import { type FakeAnswer, startFakeSegmind } from '../support/fake-segmind.js'

const GOOD: UpstreamOutcome = { kind: 'answered', body: Buffer.alloc(0), contentType: 'image/jpeg', bill: {} }
const bad = (code: ErrorCode = 'upstream_failed'): UpstreamOutcome => ({
  kind: 'failed',
  error: new GatewayError(code, 'it failed'),
  bill: {},
})

/** Pauses that end when they are told to; one that has not begun yet ends when it begins. */
function pauses() {
  let isOwed = false
  let wake: (() => void) | undefined
  return {
    wait: (_ms: number, signal: AbortSignal) =>
      new Promise<void>(resolve => {
        signal.addEventListener('abort', () => resolve())
        if (isOwed) resolve()
        else wake = resolve
        isOwed = false
      }),
    end: () => {
      if (!wake) isOwed = true
      wake?.()
      wake = undefined
    },
  }
}

function breakerThatIsProbed(t: Test) {
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
  const fail = async (times: number) => {
    for (let time = 0; time < times; time++) await breaker.run(async () => bad())
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
  t.test(`${code} does not show that the model works: failures around it are in a row`, async t => {
    const { breaker, fail } = breakerThatIsProbed(t)
    await fail(4)
    await breaker.run(async () => bad(code))
    t.equal(breaker.state, 'closed')
    await fail(1)
    t.equal(breaker.state, 'open')
  })

  t.test(`${code} after a good probe does not end the suspicion`, async t => {
    const { breaker, fail, probed } = breakerThatIsProbed(t)
    await fail(5)
    await probed()
    await breaker.run(async () => bad(code))
    t.equal(breaker.state, 'closed')
    await fail(1)
    t.equal(breaker.state, 'open')
  })
}

t.test('a call from before it opened does not open it again when it fails after the probe', async t => {
  const { breaker, fail, probed } = breakerThatIsProbed(t)
  const ends: ((outcome: UpstreamOutcome) => void)[] = []
  const begin = () => breaker.run(() => new Promise(resolve => ends.push(resolve)))
  const [first, second] = [begin(), begin()]
  await fail(5)
  await probed()
  ends[0]?.(bad('upstream_timeout'))
  await first
  t.equal(breaker.state, 'closed')
  ends[1]?.(GOOD)
  await second
  await fail(4)
  t.equal(breaker.state, 'closed', 'but an answer shows that the model works, whenever it was asked')
})

t.test('a wall clock that is set back while it is open does not keep it open', async t => {
  const { breaker, fail, probed } = breakerThatIsProbed(t)
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
    onBreaker: state => {
      states.push(state)
      changed()
    },
  })
  t.teardown(async () => {
    await client.close()
    await fake.close()
  })
  const ask = () =>
    client.segment(
      IMAGE,
      { prompt: 'cat', overlayMask: true },
      { retryUntil: Number.POSITIVE_INFINITY, onSubmitted: async () => {} },
    )
  const askFive = async (answer: FakeAnswer) => {
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
  return { fake, client, states, ask, askFive, probe }
}

for (const status of [400, 401, 403, 404, 405, 406, 410, 422]) {
  t.test(`a Segmind that answers ${status} is there: the breaker stays closed`, async t => {
    const { fake, client, askFive } = await setUp(t)
    await askFive({ status, body: { error: 'Invalid content type' } })
    t.equal(fake.calls.length, 5)
    t.equal(client.breaker, 'closed')
  })
}

t.test('while it is open the balance is asked and nothing is sent that costs', async t => {
  const { fake, client, states, ask, askFive, probe } = await setUp(t)
  await askFive({ how: 'reset' })
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

t.test('a probe that is answered with 404 or 429 shows that Segmind is back', async t => {
  for (const status of [404, 429]) {
    const { fake, client, askFive, probe } = await setUp(t)
    await askFive({ how: 'reset' })
    fake.scriptBalance({ status, body: '' })
    await probe()
    t.equal(client.breaker, 'closed', `${status}`)
  }
})
