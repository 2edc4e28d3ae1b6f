import type { Test } from 'tap'
import { entriesOf } from '../../support/entries-of.js'
import { call, DAY, type Harness, MONTH } from './samples.js'
import { startWorkers } from './workers.js'

const LIMIT = 20_000
/** Concurrent attempts of each process. */
const ATTEMPTS = 150

export async function testProcesses(t: Test, harness: Harness): Promise<void> {
  const workers = startWorkers()
  t.teardown(() => workers.stop())

  t.test('reservations use exactly what the limit allows', async t => {
    const shared = await harness.share(t)
    const reports = await workers.run(shared, { what: 'budget', attempts: ATTEMPTS, limit: LIMIT })
    const { ledger } = await shared.open()
    t.equal(sum(reports), 200)
    t.equal(Math.max(...reports.map(({ highest }) => highest)), LIMIT)
    t.same(await ledger.booked('vision', call('a')), { daily: LIMIT, monthly: LIMIT })
    t.equal((await entriesOf(ledger, DAY)).length, 200)
    const open = await ledger.reservedBefore(Number.MAX_SAFE_INTEGER, 1_000)
    const ended = 200 - open.length
    t.match(await ledger.totals(), {
      spent: ended * 100,
      calls: ended,
      reserved: open.length * 100,
      reservedCalls: open.length,
      sequence: 200 + ended,
    })
  })

  t.test('reservations leave exactly the floor of the balance', async t => {
    const shared = await harness.share(t)
    const { ledger } = await shared.open()
    await ledger.recordBalance({ remaining: 30_050, at: 1_000 })
    const reports = await workers.run(shared, { what: 'floor', attempts: ATTEMPTS, limit: 10_000 })
    t.equal(sum(reports), 200)
    t.equal(Math.max(...reports.map(({ highest }) => highest)), LIMIT)
    t.match(await ledger.totals(), { reserved: LIMIT, reservedCalls: 200, sequence: 200 })
  })

  t.test('increments of one record are not lost', async t => {
    const shared = await harness.share(t)
    const reports = await workers.run(shared, { what: 'record', attempts: 15, limit: 0 })
    t.equal(sum(reports), 45)
    const { records } = await shared.open()
    t.match(await records.get('count'), { value: '45' })
  })

  t.test('uses of one result are shared in one division', async t => {
    const shared = await harness.share(t)
    await workers.run(shared, { what: 'share', attempts: 4, limit: 10_007 })
    const { ledger } = await shared.open()
    const rows = (await ledger.usage(MONTH)).map(({ shared }) => shared)
    t.same(rows.sort(ascending), [-12 * 769, ...Array<number>(12).fill(769)], '10007 divided by 13')
  })
}

const ascending = (one: number, other: number): number => one - other

function sum(reports: { booked: number }[]): number {
  return reports.reduce((total, { booked }) => total + booked, 0)
}
