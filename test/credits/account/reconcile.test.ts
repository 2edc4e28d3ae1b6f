import fc from 'fast-check'
import t from 'tap'
import type { LedgerEntry, LedgerTotals } from '../../../src/contracts/store.js'
import { type Observation, type Reconciled, reconcile } from '../../../src/credits/account/reconcile.js'
import type { AccountRecord } from '../../../src/credits/account/record.js'
import { NO_TOTALS } from '../../store/suite/samples.js'
import { anEntry } from '../ledger-world.js'

const MAX_COST = 20_000_000
const terms = { price: { max: MAX_COST, current: () => 2_000_000 }, newId: () => 'e' }

function totals(changes: Partial<LedgerTotals> = {}): LedgerTotals {
  return { ...NO_TOTALS, ...changes }
}

function seen(changes: Partial<Observation> = {}): Observation {
  return {
    remaining: 1_000_000_000,
    at: 1_000,
    month: '2026-11',
    totals: totals(),
    overlap: 0,
    unknown: [],
    claims: [],
    ...changes,
  }
}

function lost(callId: string, cost: number): LedgerEntry {
  return anEntry(callId, {
    state: 'unknown',
    settled: { outcome: 'unknown', cost, costSource: 'estimate', settledAt: 2_000 },
  })
}

/** opening − closing + topUps = booked + drift, in every month and in all. */
function addsUp({ months, topUps, drift, anchor }: AccountRecord): boolean {
  const sums = Object.values(months)
  const total = (figure: 'topUps' | 'drift') => sums.reduce((sum, month) => sum + month[figure], 0)
  return (
    sums.every(
      ({ opening, closing, ...month }) =>
        opening.remaining - closing.remaining + month.topUps === month.booked + month.drift,
    ) &&
    total('topUps') === topUps &&
    total('drift') === drift &&
    sums.at(-1)?.closing.remaining === anchor.remaining
  )
}

const first = reconcile(undefined, seen(), terms).record as AccountRecord
const two = { sequence: 4, spent: 3_400_000, calls: 2 }

const ROWS: [
  name: string,
  seen: Partial<Observation>,
  expected: { kind?: string; amount?: number; drift: number; topUps?: number },
][] = [
  ['the balance dropped by the booked amount', { remaining: 996_600_000, totals: totals(two) }, { drift: 0 }],
  ['the last digits may be rounded', { remaining: 996_599_997, totals: totals(two) }, { drift: 3 }],
  [
    'the balance dropped by more than was booked',
    { remaining: 990_000_000, totals: totals(two) },
    { kind: 'foreign', amount: 6_600_000, drift: 6_600_000 },
  ],
  [
    'the balance dropped although nothing was booked',
    { remaining: 999_999_990 },
    { kind: 'foreign', amount: 10, drift: 10 },
  ],
  [
    'the balance rose, which estimates cannot explain',
    { remaining: 1_030_000_000, totals: totals({ ...two, estimatedCalls: 2 }) },
    { kind: 'topUp', amount: 33_400_000, drift: 0, topUps: 33_400_000 },
  ],
  [
    'the balance rose',
    { remaining: 5_996_600_000, totals: totals(two) },
    { kind: 'topUp', amount: 5_000_000_000, drift: 0, topUps: 5_000_000_000 },
  ],
  [
    'calls without a reported cost cost less than estimated',
    { remaining: 997_000_000, totals: totals({ ...two, estimatedCalls: 2 }) },
    { kind: 'estimate', amount: -400_000, drift: -400_000 },
  ],
  [
    'a drop larger than such calls can explain is foreign use',
    { remaining: 900_000_000, totals: totals({ ...two, estimatedCalls: 1 }) },
    { kind: 'foreign', amount: 96_600_000, drift: 96_600_000 },
  ],
  [
    'one of two unknown calls was billed, but which one is uncertain',
    {
      remaining: 998_300_000,
      totals: totals({ ...two, estimatedCalls: 2 }),
      unknown: [lost('a', 1_700_000), lost('b', 1_700_000)],
    },
    { kind: 'unknown', amount: -1_700_000, drift: -1_700_000 },
  ],
]

for (const [name, changes, { kind, amount, drift, topUps = 0 }] of ROWS) {
  t.test(name, async t => {
    const { record, event, resolutions } = reconcile(first, seen({ at: 3_000, ...changes }), terms)
    t.same([event?.kind, event?.amount], [kind, amount])
    t.match(record, { drift, topUps, anchor: { at: 3_000, remaining: changes.remaining as number } })
    t.ok(record && addsUp(record))
    t.same(resolutions, [])
  })
}

t.test('unknown calls are resolved by the balance before the difference is recorded', async t => {
  const one = lost('a', 1_700_000)
  const at = 300_000
  const after = (drop: number, unknown: LedgerEntry[], estimatedCalls = unknown.length): Reconciled => {
    const spent = unknown.length * 1_700_000
    const now = totals({ sequence: 4, spent, calls: unknown.length, estimatedCalls })
    return reconcile(first, seen({ at, remaining: 1_000_000_000 - drop, totals: now, unknown }), terms)
  }
  t.same(after(0, [one]), { resolutions: [{ entry: one, cost: 0 }] }, 'no drop: the call was not billed')
  t.same(
    after(2_345_678, [one]),
    { resolutions: [{ entry: one, cost: 2_345_678 }] },
    'the drop is the cost of the call',
  )
  t.same(after(0, [one, lost('b', 1_700_000)]).resolutions.length, 2, 'neither call was billed')
  t.same(after(MAX_COST + 10, [one]).resolutions, [], 'a drop larger than the cost of one call')
  t.equal(after(MAX_COST + 10, [one]).event?.kind, 'unknown')
  t.same(after(1_700_000, [one]).resolutions, [], 'the estimate explains the drop, so nothing is resolved')
  t.same(after(2_000_000, [one], 2).resolutions, [], 'another call has no reported cost either')
})

t.test('while calls are in flight, only a difference they cannot explain is recorded, and corrected later', async t => {
  const busy = { at: 2_000, overlap: 2, totals: totals({ sequence: 5, spent: 1_700_000, calls: 1 }) }
  t.same(reconcile(first, seen({ ...busy, remaining: 998_300_000 - 2 * MAX_COST }), terms), { resolutions: [] })
  const loose = reconcile(first, seen({ ...busy, remaining: 498_300_000 }), terms)
  t.match(loose.event, { kind: 'foreign', amount: 500_000_000 })
  t.ok(addsUp(loose.record as AccountRecord))
  t.match(
    loose.record?.anchor,
    { at: first.anchor.at, remaining: 500_000_000 },
    'the anchor moves by the recorded difference',
  )

  // Two calls in flight had already cost 4 000 000 of it.
  const quiet = { at: 3_000, remaining: 498_300_000, totals: totals({ sequence: 9, spent: 5_700_000, calls: 3 }) }
  const corrected = reconcile(loose.record, seen(quiet), terms)
  t.equal(corrected.event, undefined, 'the correction is not a further event')
  t.match(corrected.record, { drift: 496_000_000, events: [{ kind: 'foreign', amount: 496_000_000 }] })
  t.ok(addsUp(corrected.record as AccountRecord))

  const toppedUp = reconcile(first, seen({ ...busy, remaining: 5_998_300_000 }), terms)
  t.match(toppedUp.event, { kind: 'topUp', amount: 5_000_000_000 })
  const exact = reconcile(toppedUp.record, seen({ ...quiet, remaining: 5_994_300_000 }), terms)
  t.match(exact.record, { topUps: 5_000_000_000, drift: 0, events: [{ amount: 5_000_000_000 }] })
})

t.test(
  'an observation is ignored if it is older than the anchor, or the first one and calls are in flight',
  async t => {
    const later = reconcile(first, seen({ at: 5_000, totals: totals({ sequence: 4 }) }), terms).record
    t.same(reconcile(later, seen({ at: 6_000, remaining: 1, totals: totals({ sequence: 3 }) }), terms), {
      resolutions: [],
    })
    t.same(reconcile(later, seen({ at: 5_000, remaining: 1, totals: totals({ sequence: 4 }) }), terms), {
      resolutions: [],
    })
    t.same(reconcile(undefined, seen({ overlap: 1 }), terms), { resolutions: [] })
  },
)

t.test('a month opens with the closing balance of the previous one', async t => {
  const next = reconcile(
    first,
    seen({ at: 9_000, month: '2026-12', remaining: 996_600_000, totals: totals(two) }),
    terms,
  ).record
  t.match(next?.months['2026-12'], {
    opening: { remaining: 1_000_000_000, at: 1_000 },
    closing: { remaining: 996_600_000, at: 9_000 },
    booked: 3_400_000,
  })
  t.ok(next && addsUp(next))
})

t.test('the mean cost is derived if no call has a reported cost', async t => {
  const none = totals({ sequence: 4, spent: 4_000_000, calls: 2, estimatedCalls: 2 })
  t.equal(reconcile(first, seen({ at: 2_000, remaining: 997_000_000, totals: none }), terms).meanCost, 1_500_000)
  const some = { ...none, calls: 3 }
  t.equal(reconcile(first, seen({ at: 2_000, remaining: 997_000_000, totals: some }), terms).meanCost, undefined)
})

t.test('in any sequence of observations, every change of the balance is booked, drift or a top-up', async t => {
  const step = fc.record({
    drop: fc.integer({ min: -10_000_000_000, max: 1_000_000_000 }),
    booked: fc.integer({ min: -5_000_000, max: 50_000_000 }),
    calls: fc.nat({ max: 5 }),
    estimated: fc.integer({ min: -2, max: 5 }),
    overlap: fc.constantFrom(0, 0, 1, 7),
    steps: fc.nat({ max: 3 }),
    month: fc.constantFrom('2026-11', '2026-12'),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), sequence => {
      let record: AccountRecord | undefined
      let now = seen()
      const start = now.remaining
      for (const { drop, booked, calls, estimated, overlap, steps, month } of sequence) {
        const { totals: before } = now
        now = seen({
          at: now.at + 1,
          remaining: now.remaining - drop,
          overlap,
          month: [month, now.month].sort().at(-1) ?? month,
          totals: totals({
            sequence: before.sequence + steps,
            spent: before.spent + booked,
            calls: before.calls + calls,
            estimatedCalls: before.estimatedCalls + estimated,
          }),
        })
        record = reconcile(record, now, terms).record ?? record
        if (record && !addsUp(record)) return false
      }
      if (!record) return true
      const end = reconcile(record, { ...now, at: now.at + 1, overlap: 0 }, terms).record ?? record
      const opening = Object.values(end.months)[0]?.opening.remaining ?? 0
      const spent = Object.values(end.months).reduce((sum, month) => sum + month.booked, 0)
      return (
        end.anchor.remaining === now.remaining &&
        opening - now.remaining + end.topUps === spent + end.drift &&
        start > 0
      )
    }),
    { numRuns: 500 },
  )
  t.pass()
})

t.test('a cost that was not believed is charged once the balance shows it', async t => {
  const CLAIMED = 17_000_000_000
  const charged = anEntry('a', {
    state: 'charged',
    settled: { outcome: 'charged', cost: 2_000_000, costSource: 'estimate', settledAt: 2_000 },
  })
  const rich = reconcile(undefined, seen({ remaining: 20 * 1_000_000_000 }), terms).record as AccountRecord
  const after = (drop: number) =>
    reconcile(
      rich,
      seen({
        at: 3_000,
        remaining: 20 * 1_000_000_000 - drop,
        totals: totals({ sequence: 2, spent: 2_000_000, calls: 1, estimatedCalls: 1 }),
        claims: [{ entry: charged, cost: CLAIMED }],
      }),
      terms,
    )
  t.same(after(CLAIMED), { resolutions: [{ entry: charged, cost: CLAIMED }] })
  t.same(after(2_000_000).resolutions, [], 'the balance agrees with the estimate')
  t.match(after(CLAIMED + 10), { resolutions: [], event: { kind: 'foreign' } }, 'another difference')
})
