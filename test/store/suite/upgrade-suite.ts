import fc from 'fast-check'
import type { Test } from 'tap'
import type { LedgerStore, Store } from '../../../src/contracts/store.js'
import { call, charged, DAY, type Harness, MONTH, NO_TOTALS, unknown } from './samples.js'

const { epoch: _epoch, checksum: _checksum, ...NO_AMOUNTS } = NO_TOTALS
const NAMES = Object.keys(NO_AMOUNTS) as Exclude<keyof typeof NO_AMOUNTS, 'loss'>[]

/** Writes the calls that the previous version has left: one in each state, and two reserved. */
async function leaveCalls(ledger: LedgerStore): Promise<void> {
  for (const id of ['held', 'other']) await ledger.reserve(call(id), {})
  await ledger.settle(call('lost'), unknown(90))
  await ledger.settle(call('paid'), charged(70))
}

/** Returns whether every total is a valid amount. */
async function isSane(ledger: LedgerStore): Promise<boolean> {
  const totals = await ledger.totals()
  return NAMES.every(name => Number.isSafeInteger(totals[name]) && totals[name] >= 0)
}

export async function testUpgrade(t: Test, harness: Harness): Promise<void> {
  const upgraded = async (t: Test): Promise<Store> => {
    const store = await harness.open(t)
    await leaveCalls(store.ledger)
    return harness.downgrade(t, store)
  }

  t.test('the totals start with the reserved calls, and everything else is unchanged', async t => {
    const { ledger } = await upgraded(t)
    t.same(await ledger.totals(), { ...NO_TOTALS, reservedCalls: 2 })
    t.same(await ledger.recentCosts(), [])
    t.same(await ledger.unknownSince(0, 10), [])
    t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: 360, monthly: 360 })
    t.equal((await ledger.reservedBefore(Number.MAX_SAFE_INTEGER, 10)).length, 2)
    t.match(await ledger.reserve(call('new'), { daily: 459 }), { ok: false, window: 'daily' })
  })

  t.test('the end of an old call does not reduce the totals of new calls', async t => {
    const { ledger } = await upgraded(t)
    await ledger.release(call('held'))
    t.match(await ledger.totals(), { reserved: 0, reservedCalls: 1 })
    await ledger.settle(call('other'), charged(60))
    await ledger.settle(call('lost'), charged(80))
    t.match(await ledger.totals(), { spent: 140, calls: 2, estimatedCalls: 0, reserved: 0, reservedCalls: 0 })
    await ledger.reserve(call('new'), {})
    t.match(await ledger.totals(), { reserved: 100, reservedCalls: 1 }, 'exact again once no old call is reserved')
    t.same(await ledger.booked('vision', { day: DAY, month: MONTH }), { daily: 310, monthly: 310 })
  })

  t.test('the release of an old unknown call does not reduce what was spent', async t => {
    const { ledger } = await upgraded(t)
    await ledger.settle(call('new'), charged(5, { costSource: 'estimate' }))
    await ledger.release(call('lost'))
    t.match(await ledger.totals(), { spent: 5, calls: 1, estimatedCalls: 1 })
  })

  t.test('the floor holds', async t => {
    const { ledger } = await upgraded(t)
    await ledger.release(call('held'))
    await ledger.recordBalance({ remaining: 150, at: 1_000 })
    t.match(await ledger.reserve(call('one'), { floor: 0 }), { ok: true })
    t.match(await ledger.reserve(call('two'), { floor: 0 }), { ok: false, window: 'floor' })
    await ledger.release(call('other'))
    await ledger.release(call('one'))
    t.match(await ledger.reserve(call('two'), { floor: 0 }), { ok: true })
    t.match(await ledger.reserve(call('three'), { floor: 0 }), { ok: false, window: 'floor' })
  })

  t.test('the totals stay valid while old calls end among new ones', async t => {
    const step = fc.record({
      do: fc.constantFrom('reserve', 'note', 'charge', 'unknown', 'release'),
      id: fc.constantFrom('held', 'other', 'lost', 'paid', 'new', 'newer', 'newest'),
      cost: fc.nat(200),
    })
    let round = 0
    let store: Store = await harness.open(t)
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), fc.array(step, { maxLength: 20 }), async (before, after) => {
        round++
        const take = async ({ do: verb, id, cost }: (typeof before)[number], ledger: LedgerStore) => {
          const entry = call(`${id}-${round}`)
          if (verb === 'reserve') await ledger.reserve(entry, {})
          else if (verb === 'note') await ledger.note({ ...entry, estimate: cost })
          else if (verb === 'release') await ledger.release(entry)
          else await ledger.settle(entry, verb === 'charge' ? charged(cost) : unknown(cost))
        }
        for (const one of before) await take(one, store.ledger)
        store = await harness.downgrade(t, store)
        for (const one of after) {
          await take(one, store.ledger)
          if (!(await isSane(store.ledger))) return false
        }
        for (const { state: _state, settled: _settled, ...entry } of await store.ledger.reservedBefore(
          Number.MAX_SAFE_INTEGER,
          1_000,
        ))
          await store.ledger.settle(entry, charged(7))
        const { reserved, reservedCalls } = await store.ledger.totals()
        return reserved === 0 && reservedCalls === 0 && (await isSane(store.ledger))
      }),
      { numRuns: 15 },
    )
    t.pass()
  })
}
