import t, { type Test } from 'tap'
import type { Store } from '../../../src/contracts/store.js'
import { Verifier } from '../../../src/credits/wholeness/verifier.js'
import { type Mismatch, verifyDay, verifyMonth, verifyTotals } from '../../../src/credits/wholeness/verify.js'
import { call, charged, DAY, MONTH, unknown } from '../../store/suite/samples.js'
import { entriesOf } from '../../support/entries-of.js'
import { realStores } from '../../support/programs/real-stores.js'

async function fill({ ledger }: Store): Promise<void> {
  for (const id of ['a', 'b', 'c', 'd']) await ledger.reserve(call(id), {})
  await ledger.settle(call('a'), charged(70))
  await ledger.settle(call('b'), unknown(90))
  await ledger.release(call('c'))
  await ledger.reserve(call('e', { team: 'other', day: '2026-12-01', month: '2026-12', estimate: 7 }), {})
  await ledger.settle(call('f', { team: 'other' }), charged(5, { costSource: 'estimate' }))
  await ledger.settle(call('f', { team: 'other' }), charged(6))
}

/** Returns a ledger whose entries lack one call. */
function without(callId: string, { ledger }: Store): Store['ledger'] {
  return {
    ...ledger,
    async *entries(day) {
      for await (const page of ledger.entries(day)) yield page.filter(entry => entry.callId !== callId)
    },
  }
}

for (const [name, open] of Object.entries(await realStores(t))) {
  t.test(`${name}: good books have no mismatch`, async t => {
    const store = await open(t)
    t.same(await verifyTotals(store.ledger), [])
    await fill(store)
    for (const day of [DAY, '2026-12-01', '2026-11-01']) t.same(await verifyDay(store.ledger, day), [])
    for (const month of [MONTH, '2026-12', '2026-10']) t.same(await verifyMonth(store.ledger, month), [])
    t.same(await verifyTotals(store.ledger), [])
  })

  t.test(`${name}: a missing entry, a wrong month and wrong totals are found with both figures`, async t => {
    const store = await open(t)
    await fill(store)
    const { ledger } = store
    t.same(await verifyDay(without('a', store), DAY), [
      { window: DAY, team: 'vision', figure: 'paidCalls', booked: 1, computed: 0 },
      { window: DAY, team: 'vision', figure: 'charged', booked: 70, computed: 0 },
    ])
    t.same(await verifyMonth({ ...ledger, monthly: async () => ({ vision: 261, lost: 1, other: 6 }) }, MONTH), [
      { window: MONTH, team: 'vision', figure: 'booked', booked: 261, computed: 260 },
      { window: MONTH, team: 'lost', figure: 'booked', booked: 1, computed: 0 },
    ])
    t.same(await verifyTotals({ ...ledger, months: async () => [MONTH] }), [
      { window: 'ledger', figure: 'reserved', booked: 107, computed: 100 },
      { window: 'ledger', figure: 'reservedCalls', booked: 2, computed: 1 },
    ])
  })

  t.test(`${name}: a step while the day is read is no mismatch`, async t => {
    const store = await open(t)
    await fill(store)
    let steps = 0
    const stepping = (most: number): Store['ledger'] => ({
      ...store.ledger,
      async *entries(day) {
        yield* store.ledger.entries(day)
        if (steps++ < most) await store.ledger.reserve(call(`late-${most}-${steps}`), {})
      },
    })
    t.same(await verifyDay(stepping(2), DAY), [])
    steps = 0
    t.equal(await verifyDay(stepping(100), DAY), undefined, 'a day that never rests is not verified')
  })

  t.test(`${name}: two replicas verify each day and month once per round`, async t => {
    const store = await open(t)
    await fill(store)
    const found: [Mismatch[], Mismatch[]] = [[], []]
    const read: string[] = []
    let now = 1_000_000
    const broken = without('a', store)
    const ledger = {
      ...broken,
      entries(day: string) {
        read.push(day)
        return broken.entries(day)
      },
    }
    const options = { store: { ledger, records: store.records }, now: () => now, verifyEveryMs: 60_000 }
    const replicas = found.map(seen => {
      const storeFailed = (error: unknown) => t.fail(String(error))
      return new Verifier({ ...options, observer: { ledgerMismatchFound: each => seen.push(each), storeFailed } })
    })
    for (let round = 0; round < 8; round++) {
      await Promise.all(replicas.map(replica => replica.verifyNext()))
      now += 60_000
    }
    t.same(read, [DAY, '2026-12-01', DAY, '2026-12-01'])
    t.ok(found.flat().length >= 2)
    for (const { length } of found) t.ok(length === 0 || length === 2, 'each replica reports two figures once')
    for (const replica of replicas) await replica.close()
  })
}

t.test('a day with thousands of entries is read whole', async (t: Test) => {
  const store = await (await realStores(t)).embedded?.(t)
  if (!store) throw new Error('no embedded store')
  await Promise.all(Array.from({ length: 1_501 }, (_, index) => store.ledger.reserve(call(`call-${index}`), {})))
  t.equal(new Set((await entriesOf(store.ledger, DAY)).map(({ callId }) => callId)).size, 1_501)
  t.same(await verifyDay(store.ledger, DAY), [])
})
