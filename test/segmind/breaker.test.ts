import t from 'tap'
import { type ErrorCode, GatewayError } from '../../src/contracts/errors.js'
import type { UpstreamOutcome } from '../../src/segment/ports.js'
import { createBreaker } from '../../src/segmind/breaker.js'

const GOOD: UpstreamOutcome = { kind: 'answered', body: Buffer.alloc(0), contentType: 'image/jpeg', bill: {} }
const bad = (code: ErrorCode = 'upstream_failed'): UpstreamOutcome => ({
  kind: 'failed',
  error: new GatewayError(code, 'it failed'),
  bill: {},
})

/** Creates a breaker whose pause ends, and whose clock advances by it, when `pass` is called. */
function setUp() {
  const state = { now: 1_000_000, calls: 0, probes: 0 }
  const pausesMs: number[] = []
  const changes: string[] = []
  let wake: (() => void) | undefined
  let probed: UpstreamOutcome = GOOD
  const breaker = createBreaker({
    async probe() {
      state.probes++
      return probed
    },
    wait: (ms, signal) =>
      new Promise(resolve => {
        pausesMs.push(ms)
        signal.addEventListener('abort', () => resolve())
        wake = () => {
          state.now += ms
          resolve()
        }
      }),
    now: () => state.now,
    random: () => 1,
    onChange: change => changes.push(change),
  })
  const call = (outcome: UpstreamOutcome = GOOD, question = `question ${state.calls}`) =>
    breaker.run(question, async () => {
      state.calls++
      return outcome
    })
  const fail = async (times: number, code?: ErrorCode) => {
    for (let time = 0; time < times; time++) await call(bad(code))
  }
  const pass = async (outcome: UpstreamOutcome) => {
    probed = outcome
    wake?.()
    for (let tick = 0; tick < 5; tick++) await new Promise(resolve => setImmediate(resolve))
  }
  return { breaker, state, pausesMs, changes, call, fail, pass }
}

t.test('five consecutive outages open the breaker and stop calls', async t => {
  const { breaker, state, call, fail } = setUp()
  await fail(4)
  await call()
  await fail(4, 'upstream_timeout')
  t.equal(breaker.state, 'closed')
  breaker.admit()
  await fail(1, 'upstream_unavailable')
  t.equal(breaker.state, 'open')
  const calls = state.calls
  t.match(await call(), {
    kind: 'failed',
    error: { code: 'upstream_unavailable', billed: 'no', retryAfterSeconds: 5 },
  })
  t.equal(state.calls, calls)
  t.throws(() => breaker.admit(), { code: 'upstream_unavailable', retryAfterSeconds: 5 })
  breaker.close()
})

t.test('errors of a request, the key, the rate or the credits do not open the breaker', async t => {
  const { breaker, fail } = setUp()
  for (const code of ['upstream_rejected', 'upstream_unauthorized', 'upstream_busy', 'credits_exhausted'] as const)
    await fail(6, code)
  t.equal(breaker.state, 'closed')
})

t.test('an open breaker sends free probes at growing intervals until Segmind responds', async t => {
  const { breaker, state, pausesMs, changes, fail, pass, call } = setUp()
  await fail(5)
  for (let probe = 0; probe < 5; probe++) await pass(bad())
  t.same(pausesMs, [5_000, 10_000, 20_000, 40_000, 60_000, 60_000])
  t.equal(state.probes, 5)
  t.equal(breaker.state, 'open')
  t.equal(state.calls, 5)
  await pass(GOOD)
  t.equal(breaker.state, 'closed')
  t.match(await call(), { kind: 'answered' })
  t.same(changes, ['open', ...Array(5).fill(['probing', 'open']).flat(), 'probing', 'closed'])
})

t.test('a refused probe closes the breaker', async t => {
  const { breaker, fail, pass } = setUp()
  await fail(5)
  await pass(bad('upstream_unauthorized'))
  t.equal(breaker.state, 'closed')
})

t.test('after a successful probe one failure opens the breaker again, until a call succeeds', async t => {
  const { breaker, pausesMs, fail, pass, call } = setUp()
  await fail(5)
  await pass(GOOD)
  await fail(1)
  t.equal(breaker.state, 'open')
  t.same(pausesMs, [5_000, 10_000], 'the interval keeps growing')
  await pass(GOOD)
  await call()
  await fail(4)
  t.equal(breaker.state, 'closed')
  await fail(1)
  t.equal(pausesMs.at(-1), 5_000)
  breaker.close()
})

t.test('calls in flight when the breaker opens end normally', async t => {
  const { breaker, fail } = setUp()
  let answer = (_outcome: UpstreamOutcome): void => {}
  const under = breaker.run('question', () => new Promise(resolve => (answer = resolve)))
  await fail(5)
  answer(GOOD)
  t.match(await under, { kind: 'answered' })
  t.equal(breaker.state, 'open', 'only a probe closes it')
  breaker.close()
})

t.test('closing stops the probes', async t => {
  const { breaker, state, fail } = setUp()
  await fail(5)
  breaker.close()
  for (let tick = 0; tick < 5; tick++) await new Promise(resolve => setImmediate(resolve))
  t.equal(state.probes, 0)
})
