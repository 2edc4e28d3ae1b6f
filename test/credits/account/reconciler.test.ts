import t from 'tap'
import { Reconciler, type ReconcilerOptions } from '../../../src/credits/account/reconciler.js'
import { ACCOUNT_KEY, type AccountEvent, accountMonth } from '../../../src/credits/account/record.js'
import { createBudgetCalendar } from '../../../src/credits/windows.js'
import { memoryRecords } from '../../support/memory-records.js'
import { modelLedger } from '../../support/model-ledger.js'
import { anEntry, NOON } from '../ledger-world.js'

const MINUTE = 60_000

function open(changes: Partial<ReconcilerOptions> = {}) {
  const { store, calls } = modelLedger()
  const records = memoryRecords()
  const told: string[] = []
  const clock = { now: NOON }
  const start = (own: Partial<ReconcilerOptions> = {}) =>
    new Reconciler({
      records,
      ledger: store,
      calendar: createBudgetCalendar('UTC'),
      maxCost: () => 1_000,
      now: () => clock.now,
      isSettled: () => true,
      onEvent: ({ kind, amount }: AccountEvent) => told.push(`${kind} ${amount}`),
      onMeanCost: cost => told.push(`mean ${cost}`),
      onResolved: ({ entry, cost }) => told.push(`${entry.callId} cost ${cost}`),
      onFailure: error => told.push(String(error)),
      ...changes,
      ...own,
    })
  const look = async (reconciler: Reconciler, remaining: number, overlap = 0) =>
    reconciler.observe({ remaining, at: clock.now, book: await store.account(), overlap })
  return { store, calls, records, told, clock, start, look }
}

t.test('two replicas that see the same foreign use record it once', async t => {
  const { records, told, clock, start, look } = open()
  const [one, two] = [start(), start()]
  await look(one, 5_000)
  clock.now += MINUTE
  await Promise.all([look(one, 4_000), look(two, 4_000)])
  t.same(told, ['foreign 1000'])
  t.equal(one.record?.drift, 1_000)
  t.equal(two.record?.drift, 1_000)
  t.match(await accountMonth(records, '2026-11'), { drift: 1_000, closing: { remaining: 4_000 } })
  t.equal(await accountMonth(records, '2026-12'), undefined)
})

t.test(
  'a call that ended as unknown is looked at once it can no longer be billed, and ended by what is gone',
  async t => {
    for (const [gone, outcome] of [
      [0, undefined],
      [123, { state: 'charged', settled: { cost: 123, costSource: 'balance' } }],
    ] as const) {
      const { store, calls, told, clock, start, look } = open()
      const reconciler = start()
      await look(reconciler, 5_000)
      const { state: _reserved, ...call } = anEntry('c1', { at: clock.now })
      await store.reserve(call, {})
      clock.now += MINUTE
      await store.settle(call, { outcome: 'unknown', cost: 100, costSource: 'estimate', settledAt: clock.now })
      clock.now += 2 * MINUTE
      await look(reconciler, 5_000 - gone)
      t.same(told, [], 'it may still be billed')
      clock.now += MINUTE
      await look(reconciler, 5_000 - gone)
      t.same(told, [`c1 cost ${gone}`])
      if (outcome) t.match(calls.get('c1'), outcome)
      else t.equal(calls.get('c1'), undefined)
      clock.now += MINUTE
      await look(reconciler, 5_000 - gone)
      t.match(reconciler.record, { drift: 0, topUps: 0, anchor: { remaining: 5_000 - gone, spent: gone } })
      t.same(told.length, 1)
    }
  },
)

t.test('one that ended after the look is not in its books', async t => {
  const { store, calls, told, clock, start } = open()
  const reconciler = start()
  await reconciler.observe({ remaining: 5_000, at: clock.now, book: await store.account(), overlap: 0 })
  const lose = async (callId: string) => {
    const { state: _reserved, ...call } = anEntry(callId, { at: clock.now })
    await store.settle(call, { outcome: 'unknown', cost: 100, costSource: 'estimate', settledAt: clock.now })
  }
  clock.now += MINUTE
  await lose('c1')
  clock.now += 5 * MINUTE
  const seen = { remaining: 4_950, at: clock.now, book: await store.account(), overlap: 0 }
  clock.now += MINUTE
  await lose('c2')
  await reconciler.observe(seen)
  t.same(told, ['c1 cost 50'])
  t.match(calls.get('c2'), { state: 'unknown' })
})

t.test('while the books may be behind nothing is compared', async t => {
  const { records, start, look } = open({ isSettled: () => false })
  await look(start(), 5_000)
  t.notOk(records.kept.has(ACCOUNT_KEY))
})

t.test('a store that is down is told, and the next look catches up', async t => {
  const { records, told, clock, start, look } = open()
  const reconciler = start()
  await look(reconciler, 5_000)
  records.failing = 'before'
  clock.now += MINUTE
  await look(reconciler, 4_000)
  t.equal(told.length, 1)
  records.failing = undefined
  clock.now += MINUTE
  await look(reconciler, 3_000)
  t.equal(told.at(-1), 'foreign 2000')
})

t.test('of the looks that come while one is made only the newest is made', async t => {
  let go = () => {}
  const gate = new Promise<void>(resolve => {
    go = resolve
  })
  const records = memoryRecords(() => gate)
  const { told, clock, start, look } = open({ records })
  const reconciler = start()
  const looks = [look(reconciler, 5_000)]
  for (const remaining of [4_000, 3_000, 2_000]) {
    await new Promise(setImmediate)
    clock.now += MINUTE
    looks.push(look(reconciler, remaining))
  }
  go()
  await Promise.all(looks)
  t.same(told, ['foreign 3000'])
})

t.test('a new price is written down once for all replicas, and again when it turns', async t => {
  const { told, clock, start, look } = open()
  const [one, two] = [start(), start()]
  await one.noteNewPrice(10, 20)
  t.same(told, [], 'nothing is known of the account yet')
  await look(one, 5_000)
  await Promise.all([one.noteNewPrice(10, 20), two.noteNewPrice(10, 21)])
  clock.now += MINUTE
  await two.noteNewPrice(10, 20)
  t.equal(told.length, 1)
  await two.noteNewPrice(20, 10)
  t.same(told[1], 'price -10')
})
