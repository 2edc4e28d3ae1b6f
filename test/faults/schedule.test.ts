import t from 'tap'
import { randomFrom } from '../support/random.js'
import { faultsByTarget, GATEWAYS, planOf } from './schedule.js'

const PLANS = Array.from({ length: 300 }, (_, seed) => planOf(seed))

t.test('a seed determines its plan', async t => {
  t.strictSame(planOf(7), planOf(7))
  t.notSame(planOf(7), { ...planOf(8), seed: 7 })
})

t.test('every plan repeats a few inputs on all gateways', async t => {
  for (const { inputs, requests } of PLANS) {
    t.ok(inputs.length >= 2 && inputs.length <= 6)
    t.ok(requests.length >= 20 && requests.length <= 100)
    t.ok(requests.every(({ input }) => input < inputs.length))
    t.ok(requests.every(({ gateway }) => gateway >= 0 && gateway < GATEWAYS))
  }
})

t.test('no two inputs of a plan are equal', async t => {
  for (const { inputs } of PLANS) {
    t.equal(new Set(inputs.map(({ image, prompt }) => `${image} ${prompt}`)).size, inputs.length)
  }
})

t.test('a plan never overlaps two faults of one target', async t => {
  for (const { faults } of PLANS) {
    for (const sequence of faultsByTarget(faults)) {
      for (const [index, { atMs }] of sequence.entries()) {
        const before = sequence[index - 1]
        t.ok(!before || atMs >= before.atMs + before.forMs)
      }
    }
  }
})

t.test('plans cover every fault and every behaviour of each API, and some have no faults', async t => {
  const faults = new Set(PLANS.flatMap(plan => plan.faults.map(({ kind }) => kind)))
  t.equal(faults.size, 11)
  const behaviours = (api: string) =>
    PLANS.filter(plan => plan.api === api).flatMap(plan => plan.inputs.flatMap(input => input.behaviours))
  t.equal(new Set(behaviours('v1').map(({ kind }) => kind)).size, 8)
  t.equal(new Set(behaviours('v2').map(({ kind }) => kind)).size, 9)
  t.ok(PLANS.some(plan => plan.faults.length === 0))
  t.ok(PLANS.some(({ clockOffsetsMs }) => clockOffsetsMs.every(offset => offset === 0)))
  t.ok(PLANS.some(({ clockOffsetsMs }) => new Set(clockOffsetsMs).size === GATEWAYS))
  t.equal(new Set(PLANS.flatMap(({ rows }) => rows)).size, 4)
  t.ok(PLANS.some(({ rows }) => !rows.includes('missing')))
  const stated = (api: string) =>
    behaviours(api).flatMap(each => ('stated' in each ? Object.keys(each.stated ?? {}) : []))
  for (const api of ['v1', 'v2']) t.strictSame(new Set(stated(api)), new Set(['cost', 'balanceOffset']))
  t.ok(PLANS.some(plan => plan.requests.some(({ abortAfterMs }) => abortAfterMs !== undefined)))
})

t.test('random numbers are uniform, and a fork is independent of numbers drawn', async t => {
  const random = randomFrom(1)
  const numbers = Array.from({ length: 10_000 }, () => random.between(0, 9))
  for (let number = 0; number < 10; number++) {
    const count = numbers.filter(one => one === number).length
    t.ok(count > 900 && count < 1_100, `${number}: ${count}`)
  }
  t.equal(random.fork('a').next(), randomFrom(1).fork('a').next())
  t.not(random.fork('a').next(), random.fork('b').next())
})
