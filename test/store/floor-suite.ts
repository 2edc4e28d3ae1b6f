import type { Test } from 'tap'
import type { BudgetLimits } from '../../src/storage.js'
import { call, charged, DAY, type Harness, MONTH, unknown } from './samples.js'

/** The next call has an estimate of 100, and one like it is reserved. */
const ROWS: { title: string; remaining?: number; limits: BudgetLimits; refusedBy?: 'daily' | 'monthly' | 'floor' }[] = [
  { title: 'what is left once all that is reserved is paid is the floor', remaining: 1_000, limits: { floor: 800 } },
  { title: 'it is one less', remaining: 999, limits: { floor: 800 }, refusedBy: 'floor' },
  { title: 'without a floor the balance does not matter', remaining: 0, limits: {} },
  { title: 'a floor of nothing allows to spend it all', remaining: 200, limits: { floor: 0 } },
  { title: 'but not more', remaining: 199, limits: { floor: 0 }, refusedBy: 'floor' },
  { title: 'an account that is overdrawn', remaining: -1, limits: { floor: 0 }, refusedBy: 'floor' },
  { title: 'a balance that is not known refuses nobody', limits: { floor: 1_000_000 } },
  { title: 'a known balance of 0 does', remaining: 0, limits: { floor: 0 }, refusedBy: 'floor' },
  { title: 'the day is named first', remaining: 0, limits: { daily: 199, floor: 0 }, refusedBy: 'daily' },
  { title: 'so is the month', remaining: 0, limits: { monthly: 199, floor: 0 }, refusedBy: 'monthly' },
  {
    title: 'budgets that hold do not hide the floor',
    ...{ remaining: 999, limits: { daily: 200, monthly: 200, floor: 800 }, refusedBy: 'floor' as const },
  },
]

export async function testFloor(t: Test, harness: Harness): Promise<void> {
  for (const { title, remaining, limits, refusedBy } of ROWS) {
    t.test(`${title}: ${refusedBy ? `refused by ${refusedBy}` : 'booked'}`, async t => {
      const { ledger } = await harness.open(t)
      if (remaining !== undefined) await ledger.recordBalance({ remaining, at: 1_000 })
      await ledger.reserve(call('a'), {})
      const before = await ledger.account()
      const booked = refusedBy ? 100 : 200
      const outcome = await ledger.reserve(call('b'), limits)
      t.match(outcome, { ok: !refusedBy, ...(refusedBy && { window: refusedBy }) })
      t.same(outcome.booked, { daily: booked, monthly: booked })
      t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: booked, monthly: booked })
      t.same(outcome.account, await ledger.account())
      if (refusedBy) t.same(outcome.account, before, 'a refusal changes nothing')
      t.equal((await ledger.entries(DAY)).length, refusedBy ? 1 : 2)
    })
  }

  t.test('reservations of all teams and days count, and what has ended does not: the balance has it', async t => {
    const { ledger } = await harness.open(t)
    await ledger.recordBalance({ remaining: 1_000, at: 1_000 })
    await ledger.reserve(call('a', { team: 'other', day: '2026-12-01', month: '2026-12', estimate: 300 }), {})
    await ledger.settle(call('paid'), charged(400))
    await ledger.settle(call('lost'), unknown(400))
    t.match(await ledger.reserve(call('b'), { floor: 601 }), { ok: false, window: 'floor' })
    t.match(await ledger.reserve(call('b'), { floor: 600 }), { ok: true })
    await ledger.release(call('a', { team: 'other', day: '2026-12-01', month: '2026-12' }))
    t.match(await ledger.reserve(call('c'), { floor: 800 }), { ok: true }, 'what was released is free again')
  })

  t.test('a call that is reserved already is, whatever is left', async t => {
    const { ledger } = await harness.open(t)
    await ledger.reserve(call('a'), {})
    await ledger.recordBalance({ remaining: 0, at: 1_000 })
    t.match(await ledger.reserve(call('a'), { floor: 0 }), { ok: true, booked: { daily: 100 } })
  })

  t.test('who has another floor is measured by that', async t => {
    const { ledger } = await harness.open(t)
    await ledger.recordBalance({ remaining: 1_000, at: 1_000 })
    t.match(await ledger.reserve(call('a', { team: 'plain' }), { floor: 950 }), { ok: false, window: 'floor' })
    t.match(await ledger.reserve(call('b', { team: 'protected' }), { floor: 0 }), { ok: true })
  })

  t.test('many at once do not get below it', async t => {
    const { ledger } = await harness.open(t)
    await ledger.recordBalance({ remaining: 1_050, at: 1_000 })
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        ledger.reserve(call(`call-${index}`, { team: `team-${index % 7}` }), { floor: 300 }),
      ),
    )
    t.equal(outcomes.filter(({ ok }) => ok).length, 7)
    t.equal(Math.max(...outcomes.map(({ account }) => account.reserved)), 700)
    t.match(await ledger.account(), { reserved: 700, reservedCalls: 7 })
  })

  for (const floor of [-1, 0.5, Number.NaN]) {
    t.test(`${floor} is no floor`, async t => {
      const { ledger } = await harness.open(t)
      await t.rejects(ledger.reserve(call('a'), { floor }), { name: 'StoreError' })
      t.same(await ledger.entries(DAY), [])
    })
  }
}
