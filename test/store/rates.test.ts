import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import type { RateCounts } from '../../src/contracts/store.js'
import { createMemoryRates } from '../../src/store/memory-rates.js'
import { openRedisStore } from '../../src/store/redis/redis-store.js'
import { eventually } from '../support/eventually.js'
import { startRedis } from '../support/programs/redis-server.js'

const redis = await startRedis()
t.teardown(() => redis.close())

async function overRedis(t: Test): Promise<RateCounts> {
  const store = await openRedisStore({ url: redis.url, keyPrefix: `own-${randomUUID()}` })
  t.teardown(() => store.close())
  return store.rates
}

const COUNTS: Record<string, (t: Test) => Promise<RateCounts>> = {
  memory: async () => createMemoryRates(),
  redis: overRedis,
}
const MINUTE = { max: 5, windowMs: 60_000 }

for (const [name, open] of Object.entries(COUNTS)) {
  t.test(`${name}: an amount is counted whole, or not at all`, async t => {
    const rates = await open(t)
    const sums = []
    for (const amount of [2, 4, 3, 1, 0]) sums.push((await rates.take('a', amount, MINUTE)).sum)
    t.strictSame(sums, [2, 6, 5, 6, 5], 'the sums above 5 were not counted')
    t.equal((await rates.take('b', 1, MINUTE)).sum, 1, 'names are separate')
    t.equal((await rates.take('a', 1, { ...MINUTE, max: 6 })).sum, 6, 'a limit that was raised holds at once')
  })

  t.test(`${name}: amounts that arrive together never exceed the maximum`, async t => {
    const rates = await open(t)
    const window = { max: 100, windowMs: 60_000 }
    const amounts = Array.from({ length: 60 }, (_, index) => 1 + (index % 7))
    const taken = await Promise.all(
      amounts.map(async amount => ((await rates.take('a', amount, window)).sum <= 100 ? amount : 0)),
    )
    const { sum } = await rates.take('a', 0, window)
    t.equal(
      taken.reduce((total, amount) => total + amount, 0),
      sum,
    )
    t.ok(sum > 93 && sum <= 100, `${sum} of 100 were counted`)
  })

  t.test(`${name}: a window begins with the first count and ends by itself`, async t => {
    const rates = await open(t)
    t.strictSame(await rates.take('a', 0, MINUTE), { sum: 0, endsInMs: 60_000 }, 'reading begins no window')
    t.strictSame(await rates.take('a', 6, MINUTE), { sum: 6, endsInMs: 60_000 }, 'nor does a refusal')
    const brief = { max: 1, windowMs: 40 }
    t.equal((await rates.take('c', 1, brief)).sum, 1)
    t.ok((await rates.take('c', 1, brief)).endsInMs <= 40)
    await eventually('the window never ended', async () => (await rates.take('c', 1, brief)).sum === 1)
  })
}

t.test('memory: the oldest of too many windows of a kind is dropped', async t => {
  const rates = createMemoryRates()
  await rates.take('team:a', 1, MINUTE)
  for (let index = 0; index <= 5_000; index++) await rates.take(`failed:${index}`, 1, MINUTE)
  t.equal((await rates.take('failed:1', 1, MINUTE)).sum, 2)
  t.equal((await rates.take('failed:0', 1, MINUTE)).sum, 1)
  t.equal((await rates.take('team:a', 1, MINUTE)).sum, 2, 'another kind')
})

t.test('redis: two stores share the counts', async t => {
  const keyPrefix = `own-${randomUUID()}`
  const stores = await Promise.all([1, 2].map(() => openRedisStore({ url: redis.url, keyPrefix })))
  t.teardown(() => Promise.all(stores.map(store => store.close())))
  const [one, other] = stores
  await one?.rates.take('a', 3, MINUTE)
  t.equal((await other?.rates.take('a', 3, MINUTE))?.sum, 6)
  t.equal((await other?.rates.take('a', 2, MINUTE))?.sum, 5)
})

t.test('redis: a process counts in advance, and all processes together never exceed the maximum', async t => {
  const keyPrefix = `own-${randomUUID()}`
  const stores = await Promise.all([1, 2].map(() => openRedisStore({ url: redis.url, keyPrefix })))
  t.teardown(() => Promise.all(stores.map(store => store.close())))
  const window = { max: 1_280, windowMs: 60_000 }
  const [one] = stores
  t.equal((await one?.rates.take('b', 1, window))?.sum, 1)
  const next = one?.rates.take('b', 2, window)
  t.notOk(next instanceof Promise, 'counted in advance')
  t.match(next, { sum: 3 })
  t.equal((await one?.rates.take('b', 0, window))?.sum, 3)
  t.equal((await one?.rates.take('b', 1_278, window))?.sum, 1_281, 'refused whole')
  t.equal((await one?.rates.take('b', 1_277, window))?.sum, 1_280, 'what was counted in advance is used')

  let taken = 0
  const drain = async ({ rates }: (typeof stores)[0]) => {
    for (let amount = 1; ; amount = 1 + (amount % 3)) {
      const { sum } = await rates.take('a', amount, window)
      if (sum <= window.max) taken += amount
      else if (amount === 1) return
    }
  }
  await Promise.all([...stores, ...stores].map(drain))
  t.equal(taken, 1_280)
})

t.test('redis: of many requests at once, only one counts in advance', async t => {
  const keyPrefix = `own-${randomUUID()}`
  const stores = await Promise.all([1, 2].map(() => openRedisStore({ url: redis.url, keyPrefix })))
  t.teardown(() => Promise.all(stores.map(store => store.close())))
  const window = { max: 6_400, windowMs: 60_000 }
  await Promise.all(Array.from({ length: 300 }, () => stores[0]?.rates.take('a', 1, window)))
  t.equal((await stores[0]?.rates.take('a', 0, window))?.sum, 300)
  const sum = (await stores[1]?.rates.take('a', 0, window))?.sum
  t.ok(sum !== undefined && sum <= 400, `${sum} of 6400 are counted for another process`)
})
