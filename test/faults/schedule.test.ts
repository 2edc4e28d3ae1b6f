import t from 'tap'
import { randomFrom } from './random.js'
import { GATEWAYS, lanesOf, planOf } from './schedule.js'

const PLANS = Array.from({ length: 300 }, (_, seed) => planOf(seed))

t.test('a seed always makes the same plan, and another seed another one', async t => {
  t.strictSame(planOf(7), planOf(7))
  t.notSame(planOf(7), { ...planOf(8), seed: 7 })
})

t.test('every plan asks few questions often, of all gateways', async t => {
  for (const { questions, requests } of PLANS) {
    t.ok(questions.length >= 2 && questions.length <= 6)
    t.ok(requests.length >= 20 && requests.length <= 100)
    t.ok(requests.every(({ question }) => question < questions.length))
    t.ok(requests.every(({ gateway }) => gateway >= 0 && gateway < GATEWAYS))
  }
})

t.test('no two questions of a plan are the same', async t => {
  for (const { questions } of PLANS) {
    t.equal(new Set(questions.map(({ image, prompt }) => `${image} ${prompt}`)).size, questions.length)
  }
})

t.test('one thing is broken in one way at a time', async t => {
  for (const { faults } of PLANS) {
    for (const lane of lanesOf(faults)) {
      for (const [index, { atMs }] of lane.entries()) {
        const before = lane[index - 1]
        t.ok(!before || atMs >= before.atMs + before.forMs)
      }
    }
  }
})

t.test('every kind of fault and behaviour is planned, v2 has its own, and some runs are calm', async t => {
  const faults = new Set(PLANS.flatMap(plan => plan.faults.map(({ kind }) => kind)))
  t.equal(faults.size, 7)
  const behaviours = (api: string) =>
    PLANS.filter(plan => plan.api === api).flatMap(plan => plan.questions.flatMap(question => question.behaviours))
  t.equal(new Set(behaviours('v1').map(({ kind }) => kind)).size, 8)
  t.equal(new Set(behaviours('v2').map(({ kind }) => kind)).size, 9)
  t.ok(PLANS.some(plan => plan.faults.length === 0))
  t.ok(PLANS.some(plan => plan.requests.some(({ abortAfterMs }) => abortAfterMs !== undefined)))
})

t.test('the numbers are spread evenly, and a fork does not depend on how many were taken', async t => {
  const random = randomFrom(1)
  const numbers = Array.from({ length: 10_000 }, () => random.between(0, 9))
  for (let number = 0; number < 10; number++) {
    const count = numbers.filter(one => one === number).length
    t.ok(count > 900 && count < 1_100, `${number}: ${count}`)
  }
  t.equal(random.fork('a').next(), randomFrom(1).fork('a').next())
  t.not(random.fork('a').next(), random.fork('b').next())
})
