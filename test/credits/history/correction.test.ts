import t from 'tap'
import type { MonthSums } from '../../../src/contracts/statements.js'
import type { LedgerEntry, LedgerTotals } from '../../../src/contracts/store.js'
import { reconcile } from '../../../src/credits/account/reconcile.js'
import type { AccountRecord } from '../../../src/credits/account/record.js'
import { corrected } from '../../../src/credits/history/correction.js'

const MONTH = '2026-11'

function entry(cost: number, settledAt: number, state: 'unknown' | 'charged' = 'unknown'): LedgerEntry {
  const settled = { outcome: state, cost, costSource: 'estimate', settledAt } as const
  const names = { callId: 'c', team: 'vision', keyId: 'k', requestId: 'r', resultId: 'x' }
  return { ...names, at: settledAt - 5, day: `${MONTH}-01`, month: MONTH, estimate: cost, state, settled }
}

function totals(spent: number, calls: number, estimatedCalls: number, sequence: number): LedgerTotals {
  return {
    epoch: 'e',
    checksum: `${sequence}`,
    sequence,
    spent,
    reserved: 0,
    reservedCalls: 0,
    calls,
    estimatedCalls,
    unknownAt: 0,
  }
}

const see = (before: AccountRecord | undefined, remaining: number, at: number, seen: LedgerTotals) =>
  reconcile(
    before,
    { remaining, at, month: MONTH, totals: seen, overlap: 0, unknown: [], claims: [] },
    { price: { max: 1000, current: () => 100 }, newId: () => `${at}` },
  )

t.test('a corrected cost moves drift to the booked amounts, and the next comparison agrees', async t => {
  const first = see(undefined, 10_000, 0, totals(0, 0, 0, 0)).record
  // Booked 200, while the balance fell by 170.
  const before = see(first, 9_830, 100, totals(200, 1, 1, 2)).record as AccountRecord
  t.equal(before.drift, -30)
  const after = corrected(before, {
    entry: entry(200, 50),
    cost: 170,
    at: 200,
    sequence: 3,
    month: MONTH,
  }) as AccountRecord
  t.equal(after.drift, 0)
  const next = see(after, 9_830, 300, totals(170, 1, 0, 3))
  t.notOk(next.event)
  const { months } = next.record as AccountRecord
  const { opening, closing, topUps, booked, drift } = months[MONTH] as MonthSums
  t.equal(opening.remaining - closing.remaining + topUps, booked + drift)
  t.equal(booked, 170)
})

t.test('a call that was removed leaves the counts', async t => {
  const first = see(undefined, 10_000, 0, totals(0, 0, 0, 0)).record
  const before = see(first, 10_000, 100, totals(200, 1, 1, 2)).record as AccountRecord
  const after = corrected(before, {
    entry: entry(200, 50),
    cost: 0,
    at: 200,
    sequence: 3,
    month: MONTH,
  }) as AccountRecord
  t.match(after, { drift: 0, anchor: { calls: 0, estimatedCalls: 0, spent: 0 } })
  t.notOk(see(after, 10_000, 300, totals(0, 0, 0, 3)).event)
})

t.test('a call after the last comparison needs no correction', async t => {
  const first = see(undefined, 10_000, 0, totals(0, 0, 0, 0)).record as AccountRecord
  t.equal(corrected(first, { entry: entry(200, 50), cost: 170, at: 200, sequence: 3, month: MONTH }), undefined)
  const exact = see(first, 9_830, 100, totals(170, 1, 0, 3)).record as AccountRecord
  t.equal(corrected(exact, { entry: entry(200, 50), cost: 170, at: 90, sequence: 3, month: MONTH }), undefined)
})
