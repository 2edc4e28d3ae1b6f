import t from 'tap'
import { Reconciler, type ReconcilerOptions } from '../../../src/credits/account/reconciler.js'
import { ACCOUNT_KEY, accountMonth } from '../../../src/credits/account/record.js'
import { createBudgetCalendar } from '../../../src/credits/windows.js'
import { memoryRecords } from '../../support/doubles/memory-records.js'
import { modelLedger } from '../../support/doubles/model-ledger.js'
import { anEntry, NOON } from '../ledger-world.js'

const MINUTE = 60_000

function open(changes: Partial<ReconcilerOptions> = {}) {
  const { store, calls } = modelLedger()
  const records = memoryRecords()
  const reported: string[] = []
  const clock = { now: NOON }
  const start = (own: Partial<ReconcilerOptions> = {}) =>
    new Reconciler({
      records,
      ledger: store,
      calendar: createBudgetCalendar('UTC'),
      price: { max: 1_000, current: () => 100, learn: cost => reported.push(`mean ${cost}`) },
      now: () => clock.now,
      isSettled: () => true,
      onDoubt: () => reported.push('doubt'),
      observer: {
        accountEventRecorded: ({ kind, amount }) => reported.push(`${kind} ${amount}`),
        callBooked: (team, outcome, cost) => reported.push(`${team} ${outcome} ${cost}`),
        unknownSettled: (team, booked) => reported.push(`${team} no longer unknown ${booked}`),
        storeFailed: error => reported.push(String(error)),
      },
      ...changes,
      ...own,
    })
  const observe = async (reconciler: Reconciler, remaining: number, overlap = 0) =>
    reconciler.observe({ remaining, at: clock.now, totals: await store.totals(), overlap })
  return { store, calls, records, reported, clock, start, observe }
}

t.test('two replicas that observe the same foreign use record it once', async t => {
  const { records, reported, clock, start, observe } = open()
  const [one, two] = [start(), start()]
  for (const replica of [one, two]) await observe(replica, 5_000)
  clock.now += MINUTE
  await Promise.all([observe(one, 4_000), observe(two, 4_000)])
  t.same(reported, ['foreign 1000'])
  t.equal(one.record?.drift, 1_000)
  t.equal(two.record?.drift, 1_000)
  t.match(await accountMonth(records, '2026-11'), { drift: 1_000, closing: { remaining: 4_000 } })
  t.equal(await accountMonth(records, '2026-12'), undefined)
})

t.test('two replicas that find out at once that an unknown call was not billed count it once', async t => {
  const { store, reported, clock, start, observe } = open()
  const replicas = [start(), start()]
  for (const replica of replicas) await observe(replica, 5_000)
  clock.now += MINUTE
  const { state: _reserved, ...call } = anEntry('c1', { at: clock.now })
  await store.reserve(call, {})
  await store.settle(call, { outcome: 'unknown', cost: 100, costSource: 'estimate', settledAt: clock.now })
  clock.now += 4 * MINUTE
  await Promise.all(replicas.map(replica => observe(replica, 5_000)))
  t.same(reported, ['vision no longer unknown 100'])
})

t.test('a balance that was weighed against an old record is weighed again before it records a movement', async t => {
  const { reported, clock, start, observe } = open()
  const [one, two] = [start(), start()]
  for (const replica of [one, two]) await observe(replica, 5_000)
  clock.now += MINUTE
  await observe(one, 9_000)
  t.same(reported.splice(0), ['topUp 4000'])
  // It agrees with the balance before the top-up, which the other replica has not heard of.
  clock.now += MINUTE
  await observe(two, 5_000)
  t.same(reported.splice(0), ['doubt'])
  t.match(two.record, { anchor: { remaining: 9_000 }, drift: 0, topUps: 4_000 })
  clock.now += MINUTE
  await observe(two, 5_000)
  t.same(reported, ['foreign 4000'], 'now it was weighed against the new record')
})

t.test('an unknown call is resolved by the balance once it can no longer be billed', async t => {
  for (const [dropped, outcome] of [
    [0, undefined],
    [123, { state: 'charged', settled: { cost: 123, costSource: 'balance' } }],
  ] as const) {
    const { store, calls, reported, clock, start, observe } = open()
    const reconciler = start()
    await observe(reconciler, 5_000)
    const { state: _reserved, ...call } = anEntry('c1', { at: clock.now })
    await store.reserve(call, {})
    clock.now += MINUTE
    await store.settle(call, { outcome: 'unknown', cost: 100, costSource: 'estimate', settledAt: clock.now })
    clock.now += 2 * MINUTE
    await observe(reconciler, 5_000 - dropped)
    t.same(reported, [], 'the call may still be billed')
    clock.now += MINUTE
    await observe(reconciler, 5_000 - dropped)
    t.same(reported, ['vision no longer unknown 100', ...(dropped > 0 ? [`vision charged ${dropped}`] : [])])
    if (outcome) t.match(calls.get('c1'), outcome)
    else t.equal(calls.get('c1'), undefined)
    clock.now += MINUTE
    await observe(reconciler, 5_000 - dropped)
    t.match(reconciler.record, { drift: 0, topUps: 0, anchor: { remaining: 5_000 - dropped, spent: dropped } })
    t.equal(reported.length, dropped > 0 ? 2 : 1, 'the call is resolved once')
  }
})

t.test('an unknown end ahead of the clock counts from when it was first seen', async t => {
  const { store, calls, reported, clock, start, observe } = open()
  const reconciler = start()
  await observe(reconciler, 5_000)
  const { state: _reserved, ...call } = anEntry('c1', { at: clock.now })
  const settledAt = clock.now + 300 * MINUTE
  await store.settle(call, { outcome: 'unknown', cost: 100, costSource: 'estimate', settledAt })
  clock.now += MINUTE
  await observe(reconciler, 4_950)
  clock.now += 2 * MINUTE
  await observe(reconciler, 4_950)
  t.same(reported, [], 'the call may still be billed')
  clock.now += MINUTE
  await observe(reconciler, 4_950)
  t.same(reported, ['vision no longer unknown 100', 'vision charged 50'])
  t.match(calls.get('c1'), { state: 'charged' })
})

t.test('a call that ended after the observation is not resolved by it', async t => {
  const { store, calls, reported, clock, start } = open()
  const reconciler = start()
  await reconciler.observe({ remaining: 5_000, at: clock.now, totals: await store.totals(), overlap: 0 })
  const lose = async (callId: string) => {
    const { state: _reserved, ...call } = anEntry(callId, { at: clock.now })
    await store.settle(call, { outcome: 'unknown', cost: 100, costSource: 'estimate', settledAt: clock.now })
  }
  clock.now += MINUTE
  await lose('c1')
  clock.now += 5 * MINUTE
  const seen = { remaining: 4_950, at: clock.now, totals: await store.totals(), overlap: 0 }
  clock.now += MINUTE
  await lose('c2')
  await reconciler.observe(seen)
  t.same(reported, ['vision no longer unknown 100', 'vision charged 50'])
  t.match(calls.get('c2'), { state: 'unknown' })
})

t.test('nothing is compared while the ledger may lack steps', async t => {
  const { records, start, observe } = open({ isSettled: () => false })
  await observe(start(), 5_000)
  t.notOk(records.kept.has(ACCOUNT_KEY))
})

t.test('a store failure is reported, and the next observation catches up', async t => {
  const { records, reported, clock, start, observe } = open()
  const reconciler = start()
  await observe(reconciler, 5_000)
  records.failing = 'before'
  clock.now += MINUTE
  await observe(reconciler, 4_000)
  t.equal(reported.length, 1)
  records.failing = undefined
  clock.now += MINUTE
  await observe(reconciler, 3_000)
  t.equal(reported.at(-1), 'foreign 2000')
})

t.test('of the samples that arrive during a reconciliation, only the newest is used', async t => {
  let go = () => {}
  const gate = new Promise<void>(resolve => {
    go = resolve
  })
  const records = memoryRecords(() => gate)
  const { reported, clock, start, observe } = open({ records })
  const reconciler = start()
  const observations = [observe(reconciler, 5_000)]
  for (const remaining of [4_000, 3_000, 2_000]) {
    await new Promise(setImmediate)
    clock.now += MINUTE
    observations.push(observe(reconciler, remaining))
  }
  go()
  await Promise.all(observations)
  t.same(reported, ['foreign 3000'])
})

t.test('a price change is recorded once for all replicas, and again when its direction changes', async t => {
  const { reported, clock, start, observe } = open()
  const [one, two] = [start(), start()]
  await one.recordPriceChange(10, 20)
  t.same(reported, [], 'there is no account record yet')
  await observe(one, 5_000)
  await Promise.all([one.recordPriceChange(10, 20), two.recordPriceChange(10, 21)])
  clock.now += MINUTE
  await two.recordPriceChange(10, 20)
  t.equal(reported.length, 1)
  await two.recordPriceChange(20, 10)
  t.same(reported[1], 'price -10')
})

t.test('a price change is recorded once, however many days its calls take', async t => {
  const { store, reported, clock, start, observe } = open()
  const reconciler = start()
  let booked = 0
  const buy = async (count: number) => {
    for (const last = booked + count; booked < last; booked++) {
      const { state: _reserved, ...call } = anEntry(`c${booked}`, { at: clock.now })
      await store.settle(call, { outcome: 'charged', cost: 1, costSource: 'header', settledAt: clock.now })
    }
    clock.now += 2 * 1_440 * MINUTE
    await observe(reconciler, 5_000 - booked)
  }
  await buy(1)
  await reconciler.recordPriceChange(10, 20)
  await buy(199)
  await reconciler.recordPriceChange(10, 21)
  t.same(reported, ['price 10'])
  await reconciler.recordPriceChange(10, 31)
  t.same(reported, ['price 10', 'price 21'], 'a second change')
  await buy(200)
  await reconciler.recordPriceChange(20, 30)
  t.same(reported.at(-1), 'price 10', 'a change after which the calls before the last one are forgotten')
})

t.test('a cost that was not believed is charged exactly once when the balance shows it, and only then', async t => {
  for (const isTrue of [true, false]) {
    const { store, calls, reported, clock, start, observe } = open()
    const [one, two] = [start(), start({ now: () => clock.now + 1 })]
    await observe(one, 50_000)
    const { state: _reserved, ...call } = anEntry('c1', { at: clock.now })
    await store.reserve(call, {})
    clock.now += MINUTE
    await store.settle(call, { outcome: 'charged', cost: 100, costSource: 'estimate', settledAt: clock.now })
    const { day, callId } = call
    await one.recordImplausible({ figure: 'cost', claimed: 17_000, expected: 100, call: { day, callId } })
    t.same(reported.splice(0), ['implausible 16900'])
    clock.now += MINUTE
    const remaining = isTrue ? 33_000 : 49_900
    await Promise.all([observe(one, remaining), observe(two, remaining)])
    clock.now += MINUTE
    await observe(one, remaining)
    t.equal(calls.get('c1')?.settled?.cost, isTrue ? 17_000 : 100)
    t.match(one.record, { drift: 0, topUps: 0, anchor: { remaining, spent: isTrue ? 17_000 : 100 } })
    t.same(reported, isTrue ? ['vision charged 16900'] : [])
    // A later difference of the same amount belongs to somebody else.
    clock.now += MINUTE
    await observe(one, remaining - 16_900)
    t.match(one.record, { drift: 16_900 })
  }
})
