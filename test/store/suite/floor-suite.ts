import type { Test } from 'tap'
import { defined } from '../../../src/contracts/defined.js'
import type { BudgetLimits } from '../../../src/contracts/store.js'
import { entriesOf } from '../../support/entries-of.js'
import { call, charged, DAY, type Harness, MONTH, unknown } from './samples.js'

/** Outcomes for a call with an estimate of 100, beside a reserved call of the same estimate. */
const ROWS: { title: string; remaining?: number; limits: BudgetLimits; refusedBy?: 'daily' | 'monthly' | 'floor' }[] = [
  { title: 'the rest after all reservations equals the floor', remaining: 1_000, limits: { floor: 800 } },
  { title: 'the rest is one below the floor', remaining: 999, limits: { floor: 800 }, refusedBy: 'floor' },
  { title: 'no floor, any balance', remaining: 0, limits: {} },
  { title: 'a floor of 0 allows the whole balance', remaining: 200, limits: { floor: 0 } },
  { title: 'a floor of 0 allows no more than the balance', remaining: 199, limits: { floor: 0 }, refusedBy: 'floor' },
  { title: 'a negative balance', remaining: -1, limits: { floor: 0 }, refusedBy: 'floor' },
  { title: 'an unknown balance', limits: { floor: 1_000_000 } },
  { title: 'a known balance of 0', remaining: 0, limits: { floor: 0 }, refusedBy: 'floor' },
  {
    title: 'the daily limit is checked before the floor',
    remaining: 0,
    limits: { daily: 199, floor: 0 },
    refusedBy: 'daily',
  },
  {
    title: 'the monthly limit is checked before the floor',
    remaining: 0,
    limits: { monthly: 199, floor: 0 },
    refusedBy: 'monthly',
  },
  {
    title: 'the floor is checked when the budgets hold',
    remaining: 999,
    limits: { daily: 200, monthly: 200, floor: 800 },
    refusedBy: 'floor',
  },
]

export async function testFloor(t: Test, harness: Harness): Promise<void> {
  for (const { title, remaining, limits, refusedBy } of ROWS) {
    t.test(`${title}: ${refusedBy ? `refused by ${refusedBy}` : 'booked'}`, async t => {
      const { ledger } = await harness.open(t)
      if (remaining !== undefined) await ledger.recordBalance({ remaining, at: 1_000 })
      await ledger.reserve(call('a'), {})
      const before = await ledger.totals()
      const booked = refusedBy ? 100 : 200
      const outcome = await ledger.reserve(call('b'), limits)
      t.match(outcome, { ok: !refusedBy, ...defined({ window: refusedBy }) })
      t.same(outcome.booked, { daily: booked, monthly: booked })
      t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: booked, monthly: booked })
      t.same(outcome.totals, await ledger.totals())
      if (refusedBy) t.same(outcome.totals, before, 'a refusal changes nothing')
      t.equal((await entriesOf(ledger, DAY)).length, refusedBy ? 1 : 2)
    })
  }

  t.test('reservations of all teams and days count; ended calls do not, since the balance includes them', async t => {
    const { ledger } = await harness.open(t)
    await ledger.recordBalance({ remaining: 1_000, at: 1_000 })
    await ledger.reserve(call('a', { team: 'other', day: '2026-12-01', month: '2026-12', estimate: 300 }), {})
    await ledger.settle(call('paid'), charged(400))
    await ledger.settle(call('lost'), unknown(400))
    t.match(await ledger.reserve(call('b'), { floor: 601 }), { ok: false, window: 'floor' })
    t.match(await ledger.reserve(call('b'), { floor: 600 }), { ok: true })
    await ledger.release(call('a', { team: 'other', day: '2026-12-01', month: '2026-12' }))
    t.match(await ledger.reserve(call('c'), { floor: 800 }), { ok: true }, 'a released amount is free again')
  })

  t.test('a call that is already reserved stays so, whatever the balance', async t => {
    const { ledger } = await harness.open(t)
    await ledger.reserve(call('a'), {})
    await ledger.recordBalance({ remaining: 0, at: 1_000 })
    t.match(await ledger.reserve(call('a'), { floor: 0 }), { ok: true, booked: { daily: 100 } })
  })

  t.test('each call is checked against its own floor', async t => {
    const { ledger } = await harness.open(t)
    await ledger.recordBalance({ remaining: 1_000, at: 1_000 })
    t.match(await ledger.reserve(call('a', { team: 'plain' }), { floor: 950 }), { ok: false, window: 'floor' })
    t.match(await ledger.reserve(call('b', { team: 'protected' }), { floor: 0 }), { ok: true })
  })

  t.test('concurrent reservations do not exceed the floor', async t => {
    const { ledger } = await harness.open(t)
    await ledger.recordBalance({ remaining: 1_050, at: 1_000 })
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        ledger.reserve(call(`call-${index}`, { team: `team-${index % 7}` }), { floor: 300 }),
      ),
    )
    t.equal(outcomes.filter(({ ok }) => ok).length, 7)
    t.equal(Math.max(...outcomes.map(({ totals }) => totals.reserved)), 700)
    t.match(await ledger.totals(), { reserved: 700, reservedCalls: 7 })
  })

  for (const floor of [-1, 0.5, Number.NaN]) {
    t.test(`the floor ${floor} is refused`, async t => {
      const { ledger } = await harness.open(t)
      await t.rejects(ledger.reserve(call('a'), { floor }), { name: 'StoreError' })
      t.same(await entriesOf(ledger, DAY), [])
    })
  }
}
