import t, { type Test } from 'tap'
import type { RolledUpCalls, Store } from '../../../src/contracts/store.js'
import { Retention, type RetentionOptions } from '../../../src/credits/wholeness/retention.js'
import { type Mismatch, verifyDay } from '../../../src/credits/wholeness/verify.js'
import { createBudgetCalendar } from '../../../src/credits/windows.js'
import { call, charged, unknown } from '../../store/suite/samples.js'
import { entriesOf } from '../../support/entries-of.js'
import { realStores } from '../../support/programs/real-stores.js'

const DAY_MS = 86_400_000
const TODAY = Date.parse('2026-11-30T12:00:00Z')
const DAYS = ['2026-08-20', '2026-08-22', '2026-08-30', '2026-11-30']

/** Books a call in a month between the first and the last of the days. A longer gap would stop the roll-up. */
const fillGap = ({ ledger }: Store) => ledger.settle(call('gap', { day: '2026-10-01', month: '2026-10' }), charged(1))

/** Books two charged calls and an unknown one in each day. */
async function fill(store: Store): Promise<void> {
  await fillGap(store)
  const { ledger } = store
  for (const day of DAYS) {
    const windows = { day, month: day.slice(0, 7) }
    for (const id of ['a', 'b']) await ledger.settle(call(`${id} ${day}`, windows), charged(70))
    await ledger.settle(call(`open ${day}`, windows), unknown(100))
  }
}

function replica(t: Test, store: RetentionOptions['store'], changes: Partial<RetentionOptions> = {}) {
  const events: string[] = []
  const retention = new Retention({
    store,
    retentionDays: 93,
    calendar: createBudgetCalendar('UTC'),
    isWhole: () => true,
    now: () => TODAY,
    pauseMs: 0,
    observer: {
      dayRolledUp: (day, calls) => events.push(`${day} ${calls}`),
      dayNotRolledUp: day => events.push(`kept ${day}`),
      ledgerMismatchFound: ({ window, figure }: Mismatch) => events.push(`${window} ${figure}`),
      storeFailed: error => t.fail(String(error)),
    },
    ...changes,
  })
  t.teardown(() => retention.close())
  return { retention, events }
}

const entriesLeft = async ({ ledger }: Store) =>
  Promise.all(DAYS.map(async day => (await entriesOf(ledger, day)).length))

for (const [name, open] of Object.entries(await realStores(t))) {
  t.test(`${name}: days beyond the retention time are rolled up, the oldest first`, async t => {
    const store = await open(t)
    await fill(store)
    const { retention, events } = replica(t, store)
    await retention.rollUp()
    t.same(events, ['2026-08-20 2', '2026-08-22 2'])
    t.same(await entriesLeft(store), [1, 1, 3, 3])
    for (const day of DAYS) t.same(await verifyDay(store.ledger, day), [])
  })

  t.test(`${name}: one replica does the work, once an hour, also for calls that were settled since`, async t => {
    const store = await open(t)
    await fill(store)
    let now = TODAY
    const [one, two] = [replica(t, store, { now: () => now }), replica(t, store, { now: () => now })]
    const round = () => Promise.all([one.retention.rollUp(), two.retention.rollUp()])
    await round()
    t.same([...one.events, ...two.events], ['2026-08-20 2', '2026-08-22 2'])
    const late = call('open 2026-08-20', { day: '2026-08-20', month: '2026-08' })
    await store.ledger.settle(late, charged(40, { costSource: 'history' }))
    await round()
    now += 3_600_000
    await round()
    t.same([...one.events, ...two.events].sort(), ['2026-08-20 1', '2026-08-20 2', '2026-08-22 2'])
    t.same(await entriesLeft(store), [0, 1, 3, 3])
  })

  t.test(`${name}: a day whose sums differ from its entries is kept, and reported once`, async t => {
    const store = await open(t)
    await fill(store)
    const { ledger } = store
    const broken: Store['ledger'] = {
      ...ledger,
      async *entries(day) {
        for await (const page of ledger.entries(day)) yield page.filter(({ callId }) => callId !== 'b 2026-08-20')
      },
    }
    let now = TODAY
    const { retention, events } = replica(t, { ...store, ledger: broken }, { now: () => now })
    await retention.rollUp()
    now += DAY_MS
    await retention.rollUp()
    t.same(events, ['2026-08-20 paidCalls', '2026-08-20 charged', 'kept 2026-08-20', '2026-08-22 2'])
    t.same(await entriesLeft(store), [3, 1, 3, 3])
    t.same(await ledger.rolledUp('2026-08-20'), [])
  })
}

t.test('marks that are missing or were altered are reported in the next round', async t => {
  const store = await (await realStores(t)).embedded?.(t)
  if (!store) throw new Error('no embedded store')
  await fill(store)
  const { ledger } = store
  await replica(t, store).retention.rollUp()
  const changes: [string, string[], (marks: RolledUpCalls[]) => RolledUpCalls[]][] = [
    ['missing', ['paidCalls', 'charged'], () => []],
    ['altered', ['paidCalls', 'charged'], marks => marks.map(mark => ({ ...mark, isIntact: false }))],
    ['intact', [], marks => marks],
  ]
  let now = TODAY
  for (const [what, figures, change] of changes) {
    now += 3_600_000
    const altered = async (day: string) =>
      (day === '2026-08-20' ? change : (m: RolledUpCalls[]) => m)(await ledger.rolledUp(day))
    const broken = { ...store, ledger: { ...ledger, rolledUp: altered } }
    const { retention, events } = replica(t, broken, { now: () => now })
    await retention.rollUp()
    const found = figures.map(figure => `2026-08-20 ${figure}`)
    t.same(events, found.length > 0 ? [...found, 'kept 2026-08-20'] : [], what)
  }
})

t.test('nothing is removed with 0, from a ledger that is not whole, or on the word of a clock far ahead', async t => {
  const store = await (await realStores(t)).embedded?.(t)
  if (!store) throw new Error('no embedded store')
  await fill(store)
  const rows: [string, Partial<RetentionOptions>][] = [
    ['0', { retentionDays: 0 }],
    ['lost', { isWhole: () => false, now: () => TODAY + DAY_MS }],
    ['ahead', { retentionDays: 200, now: () => TODAY + 900 * DAY_MS }],
  ]
  for (const [what, changes] of rows) {
    const { retention, events } = replica(t, store, changes)
    await retention.rollUp()
    t.same(events, [], what)
  }
  t.same(await entriesLeft(store), [3, 3, 3, 3])
})

t.test('a clock far ahead makes no day old by the calls that it books', async t => {
  const store = await (await realStores(t)).embedded?.(t)
  if (!store) throw new Error('no embedded store')
  for (const month of ['2026-10', '2026-11', '2028-01'])
    await store.ledger.settle(call(month, { day: `${month}-05`, month }), charged(1))
  const { retention, events } = replica(t, store, { now: () => Date.parse('2028-01-05T12:00:00Z') })
  await retention.rollUp()
  t.same(events, [])
  await store.ledger.settle(call('next', { day: '2028-02-05', month: '2028-02' }), charged(1))
  const later = replica(t, store, { now: () => Date.parse('2028-02-05T12:00:00Z') })
  await later.retention.rollUp()
  t.same(later.events, ['2026-10-05 1', '2026-11-05 1'], 'after a month with bookings the clock is right')
})

t.test('a replica that closes stops after its current step, and the next one goes on', async t => {
  const store = await (await realStores(t)).embedded?.(t)
  if (!store) throw new Error('no embedded store')
  const windows = { day: '2026-08-20', month: '2026-08' }
  await fillGap(store)
  await store.ledger.settle(call('today'), charged(1))
  await Promise.all(
    Array.from({ length: 500 }, (_, index) => store.ledger.settle(call(`c${index}`, windows), charged(1))),
  )
  let closing: Promise<void> | undefined
  const { ledger } = store
  const closed: Store['ledger'] = {
    ...ledger,
    async *rollUp(day) {
      for await (const calls of ledger.rollUp(day)) {
        closing ??= first.retention.close()
        yield calls
      }
    },
  }
  const first = replica(t, { ...store, ledger: closed })
  await first.retention.rollUp()
  await closing
  t.same(first.events, ['2026-08-20 100'])
  t.same(await verifyDay(ledger, windows.day), [])
  const next = replica(t, store, { now: () => TODAY + DAY_MS })
  await next.retention.rollUp()
  t.same(next.events, ['2026-08-20 400'])
})
