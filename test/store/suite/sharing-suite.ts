import { deepEqual } from 'node:assert/strict'
import fc from 'fast-check'
import type { Test } from 'tap'
import type { LedgerStore, SharedUse } from '../../../src/contracts/store.js'
import { DAY, type Harness, MONTH } from './samples.js'

const PAYER = 'payer'
const BOUGHT_AT = 1_764_547_200_000

function use(team: string, changes: Partial<SharedUse> = {}): SharedUse {
  const purchase = { resultId: 'ab'.repeat(32), boughtAt: BOUGHT_AT, payer: PAYER, cost: 100 }
  return { ...purchase, team, day: DAY, ttlSeconds: 3_600, ...changes }
}

/** Returns what each team owes (> 0) or is owed in a month, without teams at 0. */
async function owed(ledger: LedgerStore, month = MONTH): Promise<Record<string, number>> {
  const all: Record<string, number> = {}
  for (const { team, shared } of await ledger.usage(month)) all[team] = (all[team] ?? 0) + shared
  return Object.fromEntries(Object.entries(all).filter(([, amount]) => amount !== 0))
}

/**
 * Computes what the sharers of a purchase owe: each the nth part, and the payer is owed the sum.
 */
function parts(cost: number, sharers: readonly string[], payer = PAYER): Record<string, number> {
  const part = Math.floor(cost / (sharers.length + 1))
  const owing = sharers.map(team => [team, part] as const)
  return part === 0 || sharers.length === 0 ? {} : { ...Object.fromEntries(owing), [payer]: 0 - part * sharers.length }
}

export async function testSharing(t: Test, harness: Harness): Promise<void> {
  t.test('each team bears the nth part, and the payer the remainder', async t => {
    const { ledger } = await harness.open(t)
    await ledger.share(use('b'))
    t.same(await owed(ledger), { b: 50, payer: -50 })
    await ledger.share(use('c'))
    t.same(await owed(ledger), { b: 33, c: 33, payer: -66 }, 'the payer bears 34')
    await ledger.share(use('d'))
    t.same(await owed(ledger), { b: 25, c: 25, d: 25, payer: -75 })
  })

  t.test('a team that already shares, and the payer itself, change nothing', async t => {
    const { ledger } = await harness.open(t)
    await ledger.share(use(PAYER))
    t.same(await owed(ledger), {})
    for (const team of ['b', 'b', PAYER, 'c', 'b', 'c', PAYER]) await ledger.share(use(team))
    t.same(await owed(ledger), parts(100, ['b', 'c']))
  })

  t.test('transfers are booked on the day of the use', async t => {
    const { ledger } = await harness.open(t)
    await ledger.share(use('b', { day: '2026-11-29' }))
    await ledger.share(use('c'))
    const rows = (await ledger.usage(MONTH)).map(({ day, team, shared }) => [day, team, shared])
    t.same(rows, [
      ['2026-11-29', 'b', 50],
      ['2026-11-29', 'payer', -50],
      [DAY, 'b', -17],
      [DAY, 'c', 33],
      [DAY, 'payer', -16],
    ])
    t.match(
      await ledger.booked('b', { day: DAY, month: MONTH }),
      { daily: 0, monthly: 0 },
      'and count against no budget',
    )
  })

  t.test('each result is shared separately', async t => {
    const { ledger } = await harness.open(t)
    await ledger.share(use('b', { resultId: 'one' }))
    await ledger.share(use('b', { resultId: 'two', payer: 'c', cost: 7 }))
    t.same(await owed(ledger), { b: 53, c: -3, payer: -50 })
  })

  t.test('a later purchase is shared separately, and late uses of an older one are ignored', async t => {
    const { ledger } = await harness.open(t)
    await ledger.share(use('b'))
    const later = { boughtAt: BOUGHT_AT + 1, payer: 'c', cost: 30 }
    await ledger.share(use('b', later))
    t.same(await owed(ledger), { b: 65, c: -15, payer: -50 })
    await ledger.share(use('d'))
    await ledger.share(use('b'))
    t.same(await owed(ledger), { b: 65, c: -15, payer: -50 })
    await ledger.share(use(PAYER, later))
    t.same(await owed(ledger), { b: 60, c: -20, payer: -40 }, 'the earlier payer shares like any team')
  })

  t.test('the first report decides the payer', async t => {
    const { ledger } = await harness.open(t)
    await ledger.share(use('b'))
    await ledger.share(use('c', { payer: 'another' }))
    t.same(await owed(ledger), parts(100, ['b', 'c']))
  })

  t.test('a share that rounds to 0 transfers nothing', async t => {
    const { ledger } = await harness.open(t)
    await ledger.share(use('b', { cost: 0 }))
    await ledger.share(use('c', { cost: 0 }))
    for (const team of ['b', 'c', 'd']) await ledger.share(use(team, { resultId: 'small', cost: 2 }))
    t.same(await owed(ledger), {}, '2 divided by 4 rounds to 0')
  })

  t.test('the largest cost is divided exactly', async t => {
    const { ledger } = await harness.open(t)
    const cost = Number.MAX_SAFE_INTEGER
    for (const team of ['b', 'c', 'd', 'e']) await ledger.share(use(team, { cost }))
    t.same(await owed(ledger), parts(cost, ['b', 'c', 'd', 'e']))
  })

  t.test('the sharers are remembered for the time to live after the last new one', async t => {
    const store = await harness.open(t)
    const { ledger } = store
    const { resultId } = use('b')
    await ledger.share(use('b', { ttlSeconds: 100 }))
    await harness.elapse(store, 'share', resultId, 99)
    await ledger.share(use('b', { ttlSeconds: 100 }))
    t.same(await owed(ledger), { b: 50, payer: -50 })
    await ledger.share(use('c', { ttlSeconds: 100 }))
    await harness.elapse(store, 'share', resultId, 99)
    await ledger.share(use('c', { ttlSeconds: 100 }))
    t.same(await owed(ledger), parts(100, ['b', 'c']))
    await harness.elapse(store, 'share', resultId, 1)
    await ledger.share(use('b', { ttlSeconds: 100 }))
    t.same(await owed(ledger), { b: 83, c: 33, payer: -116 }, 'then sharing starts again')
  })

  t.test('concurrent uses are shared among all teams', async t => {
    const { ledger } = await harness.open(t)
    const teams = Array.from({ length: 12 }, (_, index) => `team-${index}`)
    await Promise.all([...teams, ...teams].map(team => ledger.share(use(team, { cost: 1_001 }))))
    t.same(await owed(ledger), parts(1_001, teams))
  })

  t.test('any uses in any order add up to 0', async t => {
    const { ledger } = await harness.open(t)
    const purchase = fc.record({ payer: fc.constantFrom('a', 'b', 'c'), cost: fc.nat(1_000_000) })
    const report = fc.record({
      team: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      purchase: fc.nat(2),
      day: fc.constantFrom('01', '02'),
    })
    let round = 0
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(purchase, purchase, purchase),
        fc.array(report, { maxLength: 25 }),
        async (purchases, reports) => {
          // Each run has its own month and result.
          const month = `${2030 + Math.floor(++round / 12)}-${String((round % 12) + 1).padStart(2, '0')}`
          const sharers = purchases.map(() => new Set<string>())
          let newest = 0
          for (const { team, purchase, day } of reports) {
            const { payer, cost } = purchases[purchase] as (typeof purchases)[number]
            const when = { boughtAt: BOUGHT_AT + purchase, day: `${month}-${day}` }
            await ledger.share(use(team, { resultId: `result-${round}`, payer, cost, ...when }))
            // A payer that uses its own result does not register the purchase.
            if (purchase < newest || team === payer) continue
            newest = purchase
            sharers[purchase]?.add(team)
          }
          const expected: Record<string, number> = {}
          for (const [index, { payer, cost }] of purchases.entries())
            for (const [team, amount] of Object.entries(parts(cost, [...(sharers[index] ?? [])], payer)))
              expected[team] = (expected[team] ?? 0) + amount
          const left = Object.entries(expected).filter(([, amount]) => amount !== 0)
          deepEqual(await owed(ledger, month), Object.fromEntries(left))
          const days = new Map<string, number>()
          for (const { day, shared } of await ledger.usage(month)) days.set(day, (days.get(day) ?? 0) + shared)
          deepEqual(
            [...days.values()].filter(sum => sum !== 0),
            [],
          )
        },
      ),
      { numRuns: 60 },
    )
  })

  for (const amount of [-1, 0.5, Number.NaN, 2 ** 53]) {
    t.test(`the amount and time ${amount} are refused`, async t => {
      const { ledger } = await harness.open(t)
      await t.rejects(ledger.share(use('b', { cost: amount })), { name: 'StoreError' })
      await t.rejects(ledger.share(use('b', { boughtAt: amount })), { name: 'StoreError' })
      await t.rejects(ledger.share(use('b', { ttlSeconds: amount })), { name: 'StoreError' })
      t.same(await ledger.usage(MONTH), [])
    })
  }
}
