import type { Test } from 'tap'
import type { LedgerStore, LedgerTotals } from '../../../src/contracts/store.js'
import { activity, call, charged, DAY, figuresOf, type Harness, NO_TOTALS, unknown } from './samples.js'

/** The steps of one call, whose estimate is 100. */
const STEPS = {
  reserve: ledger => ledger.reserve(call('a'), {}),
  'reserve beyond the limit': ledger => ledger.reserve(call('a'), { daily: 99 }),
  note: ledger => ledger.note(call('a', { jobId: 'job-1' })),
  'note 30': ledger => ledger.note(call('a', { estimate: 30, at: call('a').at + 5 })),
  'charge 70': ledger => ledger.settle(call('a'), charged(70)),
  'charge the balance': ledger => ledger.settle(call('a'), charged(70, { costSource: 'balance' })),
  'charge from the history': ledger => ledger.settle(call('a'), charged(60, { costSource: 'history' })),
  'charge the estimate': ledger => ledger.settle(call('a'), charged(100, { costSource: 'estimate' })),
  'unknown 90': ledger => ledger.settle(call('a'), unknown(90)),
  release: ledger => ledger.release(call('a')),
  'final release': ledger => ledger.release(call('a'), { mayStillArrive: true }),
} satisfies Record<string, (ledger: LedgerStore) => Promise<unknown>>

const held = { reserved: 100, reservedCalls: 1 }
const paid = { spent: 70, calls: 1 }
const guessed = { spent: 100, calls: 1, estimatedCalls: 1 }
const { settledAt: unknownAt } = unknown(90)
const lost = { spent: 90, calls: 1, estimatedCalls: 1, unknownAt }

/** The totals after each step. The sequence grows with each step that changes something. */
const HISTORIES: [step: keyof typeof STEPS, sequence: number, totals: Partial<LedgerTotals>][][] = [
  [
    ['reserve beyond the limit', 0, {}],
    ['reserve', 1, held],
    ['reserve', 1, held],
    ['charge 70', 2, paid],
    ['charge the estimate', 2, paid],
    ['unknown 90', 2, paid],
    ['reserve', 2, paid],
    ['note', 2, paid],
    ['release', 2, paid],
    ['final release', 2, paid],
  ],
  [
    ['reserve', 1, held],
    ['note', 2, held],
    ['note 30', 3, { reserved: 30, reservedCalls: 1 }],
    ['unknown 90', 4, lost],
    ['unknown 90', 4, lost],
    ['note', 4, lost],
    ['reserve', 4, lost],
    ['charge 70', 5, { ...paid, unknownAt }],
  ],
  [
    ['reserve', 1, held],
    ['unknown 90', 2, lost],
    ['release', 3, { unknownAt }],
    ['release', 3, { unknownAt }],
    ['reserve', 4, { ...held, unknownAt }],
  ],
  [
    ['release', 0, {}],
    ['reserve', 1, held],
    ['release', 2, {}],
    ['release', 2, {}],
    ['reserve', 3, held],
    ['final release', 4, {}],
    ['reserve', 4, {}],
  ],
  [
    ['final release', 0, {}],
    ['reserve', 0, {}],
    ['note', 0, {}],
    ['unknown 90', 0, {}],
    ['release', 0, {}],
    ['reserve', 0, {}],
    ['charge 70', 1, paid],
  ],
  [
    ['unknown 90', 1, lost],
    ['final release', 2, { unknownAt }],
    ['unknown 90', 2, { unknownAt }],
  ],
  [
    ['note', 1, held],
    ['reserve', 1, held],
    ['charge the estimate', 2, guessed],
  ],
  [
    ['unknown 90', 1, lost],
    ['charge the estimate', 2, { ...guessed, unknownAt }],
  ],
  [
    ['reserve', 1, held],
    ['charge the estimate', 2, guessed],
    ['charge the estimate', 2, guessed],
    ['unknown 90', 2, guessed],
    ['release', 2, guessed],
    ['charge from the history', 3, { spent: 60, calls: 1 }],
    ['charge from the history', 3, { spent: 60, calls: 1 }],
    ['charge 70', 3, { spent: 60, calls: 1 }],
    ['charge the estimate', 3, { spent: 60, calls: 1 }],
  ],
  [
    ['charge the estimate', 1, guessed],
    ['charge 70', 2, paid],
  ],
  [
    ['charge the balance', 1, paid],
    ['reserve', 1, paid],
  ],
]

export async function testTotals(t: Test, harness: Harness): Promise<void> {
  for (const history of HISTORIES) {
    t.test(`after ${history.map(([step]) => step).join(', ')}`, async t => {
      const { ledger } = await harness.open(t)
      t.same(await ledger.totals(), NO_TOTALS)
      for (const [step, sequence, expected] of history) {
        const answer = await STEPS[step](ledger)
        const after = await ledger.totals()
        t.same(figuresOf(after), figuresOf({ ...NO_TOTALS, sequence, ...expected }), step)
        if (step.startsWith('reserve'))
          t.same((answer as { totals: LedgerTotals }).totals, after, 'returned by the step')
        if (step.startsWith('charge') || step.startsWith('unknown')) t.same(answer, after, 'returned by the step')
      }
    })
  }

  t.test('the totals cover all teams, days and months', async t => {
    const { ledger } = await harness.open(t)
    await ledger.reserve(call('a'), {})
    await ledger.reserve(call('b', { team: 'other', day: '2026-12-01', month: '2026-12', estimate: 7 }), {})
    await ledger.settle(call('c', { team: 'third' }), charged(70))
    await ledger.settle(call('d', { day: '2026-11-01' }), unknown(90))
    await ledger.settle(call('e'), charged(5, { costSource: 'estimate' }))
    t.same(figuresOf(await ledger.totals()), {
      sequence: 5,
      spent: 165,
      calls: 3,
      estimatedCalls: 2,
      reserved: 107,
      reservedCalls: 2,
      unknownAt,
    })
  })

  t.test('only calls change the totals', async t => {
    const { ledger } = await harness.open(t)
    await ledger.addActivity('vision', DAY, { ...activity, requests: 3, hits: 3, savedByCache: 300 })
    await ledger.recordBalance({ remaining: 500, at: 2_000 })
    await ledger.share({
      resultId: 'r',
      boughtAt: 1_000,
      payer: 'vision',
      cost: 70,
      team: 'other',
      day: DAY,
      ttlSeconds: 60,
    })
    t.same(await ledger.totals(), NO_TOTALS)
  })

  t.test('an older unknown call that is written later does not change unknownAt', async t => {
    const { ledger } = await harness.open(t)
    await ledger.settle(call('a'), { ...unknown(90), settledAt: 2_000 })
    t.match(await ledger.settle(call('b'), { ...unknown(90), settledAt: 1_000 }), { unknownAt: 2_000 })
    t.match(await ledger.settle(call('c'), { ...unknown(90), settledAt: 3_000 }), { unknownAt: 3_000 })
  })

  t.test('large amounts are exact', async t => {
    const { ledger } = await harness.open(t)
    const most = Number.MAX_SAFE_INTEGER
    await ledger.reserve(call('a', { estimate: most }), {})
    t.match(await ledger.totals(), { reserved: most })
    t.match(await ledger.settle(call('a'), charged(most)), { reserved: 0, spent: most })
  })

  t.test('concurrent steps each return the totals after them', async t => {
    const { ledger } = await harness.open(t)
    const ids = Array.from({ length: 40 }, (_, index) => `call-${index}`)
    const outcomes = await Promise.all(ids.map(id => ledger.reserve(call(id), {})))
    const all = (from: number) => ids.map((_, index) => from + index)
    t.same(outcomes.map(({ totals }) => totals.sequence).sort(ascending), all(1))
    for (const { totals } of outcomes) t.equal(totals.reserved, totals.sequence * 100)
    const ends = await Promise.all(ids.map(id => ledger.settle(call(id), charged(3))))
    t.same(ends.map(({ sequence }) => sequence).sort(ascending), all(41))
    for (const { sequence, spent, reserved } of ends)
      t.same([spent, reserved], [(sequence - 40) * 3, (80 - sequence) * 100])
  })

  t.test('unknown calls are found over all days, oldest first, from a time on and up to a limit', async t => {
    const { ledger } = await harness.open(t)
    const ends = { c: 3_000, a: 1_000, d: 4_000, b: 2_000 }
    const day = (id: string) => ({ day: id === 'a' ? '2026-11-29' : DAY })
    // Reserved in another order than that of their ends.
    for (const [index, id] of ['d', 'c', 'b', 'a'].entries())
      await ledger.reserve(call(id, { ...day(id), at: index }), {})
    for (const [id, settledAt] of Object.entries(ends))
      await ledger.settle(call(id, day(id)), { ...unknown(90), settledAt })
    await ledger.settle(call('paid'), charged(1, { settledAt: 2_500 }))
    await ledger.reserve(call('held'), {})
    const found = async (since: number, limit = 10) =>
      (await ledger.unknownSince(since, limit)).map(({ callId }) => callId).join('')
    t.equal(await found(0), 'abcd')
    t.equal(await found(0, 2), 'ab')
    t.equal(await found(2_000), 'bcd', 'the time is inclusive')
    t.equal(await found(2_001), 'cd')
    t.equal(await found(4_001), '')
    t.match(await ledger.unknownSince(4_000, 1), [
      { ...call('d'), state: 'unknown', settled: { ...unknown(90), settledAt: 4_000 } },
    ])
    await ledger.settle(call('b'), charged(70))
    await ledger.release(call('a', day('a')))
    await ledger.release(call('d'), { mayStillArrive: true })
    t.equal(await found(0), 'c', 'calls that are no longer unknown are left out')
    t.equal(await found(0, 1), 'c', 'and do not count towards the limit')
    await ledger.settle(call('d'), { ...unknown(90), settledAt: 5_000 })
    t.equal(await found(0), 'c')
  })

  t.test('unknown calls that ended at the same time are all found', async t => {
    const { ledger } = await harness.open(t)
    for (const id of ['b', 'c', 'a']) await ledger.settle(call(id), unknown(90))
    t.same(
      (await ledger.unknownSince(unknownAt, 10)).map(({ callId }) => callId),
      ['a', 'b', 'c'],
    )
    await ledger.settle(call('b'), charged(1))
    t.same(
      (await ledger.unknownSince(unknownAt, 10)).map(({ callId }) => callId),
      ['a', 'c'],
    )
  })

  t.test('recent costs are those that Segmind reported, newest first', async t => {
    const { ledger } = await harness.open(t)
    t.same(await ledger.recentCosts(), [])
    await ledger.settle(call('a'), charged(1))
    await ledger.settle(call('b'), charged(2, { costSource: 'balance' }))
    await ledger.settle(call('c'), charged(3, { costSource: 'estimate' }))
    await ledger.settle(call('d'), unknown(4))
    await ledger.reserve(call('e'), {})
    await ledger.settle(call('f'), charged(0))
    t.same(await ledger.recentCosts(), [0, 2, 1])
    await ledger.settle(call('a'), charged(9))
    t.same(await ledger.recentCosts(), [0, 2, 1], 'a second settle adds no cost')
    await ledger.settle(call('d'), charged(5))
    t.same(await ledger.recentCosts(), [5, 0, 2, 1], 'an unknown call adds its cost once it is charged')
    await ledger.settle(call('g', { team: 'other', day: '2026-12-01', month: '2026-12' }), charged(6))
    t.same(await ledger.recentCosts(), [6, 5, 0, 2, 1], 'for every team')
  })

  t.test('only the last 200 costs are remembered', async t => {
    const { ledger } = await harness.open(t)
    for (let cost = 0; cost < 203; cost++) await ledger.settle(call(`call-${cost}`), charged(cost))
    t.same(
      await ledger.recentCosts(),
      Array.from({ length: 200 }, (_, index) => 202 - index),
    )
  })
}

const ascending = (one: number, other: number): number => one - other
