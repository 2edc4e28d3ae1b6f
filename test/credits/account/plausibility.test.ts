import fc from 'fast-check'
import t from 'tap'
import type { ImplausibleFigure } from '../../../src/contracts/account.js'
import type { LedgerTotals } from '../../../src/contracts/store.js'
import {
  BalancePlausibility,
  type BalanceVerdict,
  CostCheck,
  type ReportedBalance,
} from '../../../src/credits/account/plausibility.js'
import type { AccountRecord, Anchor } from '../../../src/credits/account/record.js'
import { NO_TOTALS } from '../../store/suite/samples.js'

const MAX_COST = 20_000_000
const CREDIT = 1_000_000_000

function totals(changes: Partial<LedgerTotals> = {}): LedgerTotals {
  return { ...NO_TOTALS, ...changes }
}

/** Weighs balances against an account of 10 credits, of which nothing is booked. */
function weigher(remaining = 10 * CREDIT) {
  const refuted: ImplausibleFigure[] = []
  const anchor: Anchor = { remaining, at: 0, sequence: 0, spent: 0, calls: 0, estimatedCalls: 0 }
  const shared: Pick<AccountRecord, 'anchor' | 'movedAt'> = { anchor }
  const reconciler = {
    record: { ...shared },
    async refresh() {
      reconciler.record = { ...shared }
    },
  }
  let now = 0
  const weights = new BalancePlausibility({
    reconciler,
    price: { max: MAX_COST, current: () => 2_000_000 },
    onRefuted: figure => refuted.push(figure),
  })
  /** Each response belongs to a request that began after the one before it had arrived. */
  const weigh = async (reported: Partial<ReportedBalance>): Promise<BalanceVerdict> => {
    if (now === 0) {
      now += 10
      await weigh({ source: 'endpoint', free: 0 })
    }
    now += 10
    return weights.weigh({
      source: 'header',
      remaining,
      totals: totals(),
      overlap: 0,
      since: now - 5,
      at: now,
      ...reported,
    })
  }
  return { weights, weigh, refuted, shared, reconciler }
}

t.test('a balance that the booked calls explain is used', async t => {
  const { weigh, refuted } = weigher()
  const booked = totals({ spent: 3_400_000, calls: 2 })
  t.equal(await weigh({ remaining: 10 * CREDIT - 3_400_000, totals: booked }), 'plausible')
  t.equal(await weigh({ remaining: 10 * CREDIT - 3_400_004, totals: booked }), 'plausible', 'rounded digits')
  t.equal(await weigh({ remaining: 10 * CREDIT - 5_000_000, totals: booked, overlap: 1 }), 'plausible', 'in flight')
  const estimated = totals({ spent: 3_400_000, calls: 2, estimatedCalls: 1 })
  t.equal(await weigh({ remaining: 10 * CREDIT - 1_800_000, totals: estimated }), 'plausible', 'an estimated cost')
  t.same(refuted, [])
})

for (const claimed of [47.65 * CREDIT, 0, 9.9 * CREDIT])
  t.test(`one wrong balance of ${claimed / CREDIT} moves nothing and is reported with both figures`, async t => {
    const { weigh, refuted } = weigher()
    t.equal(await weigh({ remaining: claimed }), 'held')
    t.same(refuted, [], 'it may be true')
    t.equal(await weigh({ source: 'endpoint' }), 'plausible')
    t.same(refuted, [{ figure: 'balance', claimed, expected: 10 * CREDIT }])
    t.equal(await weigh({}), 'plausible')
    t.equal(refuted.length, 1)
  })

t.test('a second response confirms a top-up or the use of the key by others', async t => {
  for (const [first, second] of [
    [15, 15],
    [9, 9],
    [9, 8.7],
    [9.9, 9.89],
  ] as const) {
    const { weigh, refuted } = weigher()
    t.equal(await weigh({ remaining: first * CREDIT }), 'held')
    t.equal(await weigh({ remaining: second * CREDIT, source: 'endpoint' }), 'plausible', `${first}, then ${second}`)
    t.same(refuted, [])
  }
})

t.test('three headers that state the same difference confirm it without the endpoint', async t => {
  const { weigh, weights, refuted } = weigher()
  t.equal(await weigh({ remaining: 15 * CREDIT }), 'held')
  t.equal(await weigh({ remaining: 15 * CREDIT }), 'held', 'two may be wrong alike')
  t.equal(await weigh({ remaining: 15 * CREDIT }), 'plausible')
  t.notOk(weights.isInDoubt)
  t.same(refuted, [])
})

t.test('two wrong balances do not confirm each other', async t => {
  for (const [first, second] of [
    [47, 3],
    [9.9, 1],
    [1, 9.9],
    [11, 47],
    [7.9, 8.55],
  ] as const) {
    const { weigh, refuted } = weigher()
    t.equal(await weigh({ remaining: first * CREDIT }), 'held')
    t.equal(await weigh({ remaining: second * CREDIT }), 'held', `${first}, then ${second}`)
    t.match(refuted, [{ claimed: first * CREDIT }])
    t.equal(await weigh({}), 'plausible')
    t.match(refuted, [{ claimed: first * CREDIT }, { claimed: second * CREDIT }])
  }
})

t.test('a difference that another replica has had confirmed is no news', async t => {
  const { weigh, refuted, shared } = weigher()
  t.equal(await weigh({ remaining: 15 * CREDIT }), 'held')
  shared.anchor = { ...shared.anchor, remaining: 15 * CREDIT, sequence: 3 }
  t.equal(await weigh({ remaining: 15 * CREDIT }), 'plausible')
  t.same(refuted, [], 'the first balance was right')
})

t.test('a top-up that another replica has had confirmed is not refuted by equal spending of others', async t => {
  const { weigh, refuted, shared } = weigher()
  t.equal(await weigh({ remaining: 14 * CREDIT }), 'held')
  shared.anchor = { ...shared.anchor, remaining: 14 * CREDIT }
  t.equal(await weigh({}), 'held', 'others have spent as much')
  t.equal(await weigh({ source: 'endpoint' }), 'plausible')
  t.same(refuted, [])
})

t.test('a balance is not refuted by the estimates of later calls', async t => {
  const { weigh, refuted, shared } = weigher()
  t.equal(await weigh({ remaining: 15 * CREDIT, totals: totals({ sequence: 2 }) }), 'held')
  // Another replica has had it confirmed, after a call that was booked with 2 and cost 1.7
  // millicredits.
  const remaining = 15 * CREDIT - 1_700_000
  shared.anchor = { ...shared.anchor, remaining, sequence: 4, spent: 2_000_000, calls: 1, estimatedCalls: 1 }
  const now = { sequence: 4, spent: 2_000_000, calls: 1, estimatedCalls: 1 }
  t.equal(await weigh({ remaining, totals: totals(now) }), 'plausible')
  t.same(refuted, [])
})

t.test('a header that leaves out free credits is recognised, and ignored while there are some', async t => {
  const { weigh, weights, refuted } = weigher(CREDIT)
  const free = 0.4 * CREDIT
  t.equal(await weigh({ source: 'endpoint', free }), 'plausible')
  t.notOk(weights.isHeaderComparable, 'it is not known yet what the header carries')
  t.equal(await weigh({ remaining: 0.6 * CREDIT }), 'ignored')
  t.equal(await weigh({ remaining: 0.6 * CREDIT }), 'ignored')
  t.notOk(weights.isHeaderComparable)
  t.equal(await weigh({ source: 'endpoint', free }), 'plausible')
  t.same(refuted, [])
  t.equal(await weigh({ source: 'endpoint', free: 0 }), 'plausible')
  t.ok(weights.isHeaderComparable, 'without free credits both carry the same')
  t.equal(await weigh({}), 'plausible')
})

t.test('a header that includes free credits is compared as usual', async t => {
  const { weigh, weights } = weigher(CREDIT)
  t.equal(await weigh({ source: 'endpoint', free: 0.4 * CREDIT }), 'plausible')
  t.equal(await weigh({}), 'plausible')
  t.ok(weights.isHeaderComparable)
})

t.test('a header before the first answer of the endpoint is held, and decides nothing', async t => {
  const { weights, refuted } = weigher()
  const reported = { totals: totals(), overlap: 0, since: 5, at: 10 }
  t.equal(await weights.weigh({ ...reported, source: 'header', remaining: 9 * CREDIT }), 'held')
  t.notOk(weights.isHeaderComparable)
  t.equal(await weights.weigh({ ...reported, source: 'endpoint', remaining: 10 * CREDIT, free: CREDIT }), 'plausible')
  t.same(refuted, [])
  t.equal(await weights.weigh({ ...reported, source: 'header', remaining: 9 * CREDIT }), 'ignored', 'free credits')
})

t.test('a call that began before the balance moved neither refutes nor repeats the movement', async t => {
  const { weights, weigh, refuted, shared } = weigher()
  t.equal(await weigh({ remaining: 15 * CREDIT }), 'held')
  const late = { totals: totals(), overlap: 1, since: 1, at: 1_000 }
  const before = { ...late, source: 'header', remaining: 10 * CREDIT } as const
  t.equal(await weights.weigh(before), 'ignored', 'it was billed before the top-up')
  t.ok(weights.isInDoubt)
  t.equal(await weigh({ remaining: 15 * CREDIT, source: 'endpoint' }), 'plausible')
  shared.anchor = { ...shared.anchor, remaining: 15 * CREDIT }
  shared.movedAt = 40
  t.equal(await weigh({ remaining: 15 * CREDIT }), 'plausible')
  t.equal(await weights.weigh(before), 'ignored', 'also after the movement was recorded')
  t.same(refuted, [])
})

t.test('an answer that fits only because calls were in flight does not refute an exact one', async t => {
  const { weigh, refuted } = weigher()
  const drained = { remaining: 10 * CREDIT - 10_000_000 }
  t.equal(await weigh(drained), 'held')
  t.equal(await weigh({ ...drained, source: 'endpoint', free: 0, overlap: 1 }), 'plausible')
  t.equal(await weigh({ ...drained, source: 'endpoint' }), 'plausible', 'the next answer confirms it')
  t.same(refuted, [])
})

t.test('a cost is not explained by what others spent, once another replica has recorded that', async t => {
  const { reconciler, shared } = weigher()
  let isHistoryRead = false
  const costs = new CostCheck({
    reconciler,
    price: { max: MAX_COST, current: () => 2_000_000 },
    store: { totals: async () => totals({ reservedCalls: 1 }) },
    requestBalance: async () => ({ remaining: 9 * CREDIT, free: 0 }),
    isHistoryRead: () => isHistoryRead,
  })
  t.equal(await costs.isPlausible(CREDIT), true, 'the balance has dropped by it')
  isHistoryRead = true
  t.equal(await costs.isPlausible(CREDIT), false, 'the request history will state the cost')
  t.equal(await costs.isPlausible(MAX_COST / 2), true, 'a usual cost')
  isHistoryRead = false
  t.equal(await costs.isPlausible(CREDIT / 1.9), false, 'the balance has dropped by more')
  shared.anchor = { ...shared.anchor, remaining: 9 * CREDIT }
  t.equal(await costs.isPlausible(CREDIT), false)
})

t.test('whatever one response claims, the balance stays, and the claim is reported once', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: -CREDIT, max: 1_000 * CREDIT }),
      fc.array(fc.integer({ min: 1, max: MAX_COST }), { maxLength: 8 }),
      async (claimed, costs) => {
        const { weigh, refuted } = weigher()
        const spent = costs.reduce((sum, cost) => sum + cost, 0)
        const booked = totals({ spent, calls: costs.length })
        const expected = 10 * CREDIT - spent
        const isExplained = Math.abs(claimed - expected) <= costs.length + 2
        const verdict = await weigh({ remaining: claimed, totals: booked })
        const next = await weigh({ remaining: expected, totals: booked })
        return (
          verdict === (isExplained ? 'plausible' : 'held') &&
          next === 'plausible' &&
          refuted.length === (isExplained ? 0 : 1)
        )
      },
    ),
  )
})
