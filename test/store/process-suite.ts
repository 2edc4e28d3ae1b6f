import type { Test } from 'tap'
import { startHammer } from './hammer.js'
import { call, DAY, type Harness, MONTH } from './samples.js'

const LIMIT = 20_000
/** Of each process, at the same moment. */
const ATTEMPTS = 150

export async function testProcesses(t: Test, harness: Harness): Promise<void> {
  const hammer = startHammer()
  t.teardown(() => hammer.end())

  t.test('that reserve at once get exactly what the limit allows', async t => {
    const place = await harness.share(t)
    const hammered = await hammer.hit(place, { what: 'budget', attempts: ATTEMPTS, limit: LIMIT })
    const { ledger } = await place.open()
    t.equal(sum(hammered), 200)
    t.equal(Math.max(...hammered.map(({ highest }) => highest)), LIMIT)
    t.same(await ledger.booked('vision', call('a')), { daily: LIMIT, monthly: LIMIT })
    t.equal((await ledger.entries(DAY)).length, 200)
    const open = await ledger.open(Number.MAX_SAFE_INTEGER, 1_000)
    const ended = 200 - open.length
    t.match(await ledger.account(), {
      ...{ spent: ended * 100, calls: ended, reserved: open.length * 100, reservedCalls: open.length },
      sequence: 200 + ended,
    })
  })

  t.test('that reserve at once leave of the balance what is the floor', async t => {
    const place = await harness.share(t)
    const { ledger } = await place.open()
    await ledger.recordBalance({ remaining: 30_050, at: 1_000 })
    const hammered = await hammer.hit(place, { what: 'floor', attempts: ATTEMPTS, limit: 10_000 })
    t.equal(sum(hammered), 200)
    t.equal(Math.max(...hammered.map(({ highest }) => highest)), LIMIT)
    t.match(await ledger.account(), { reserved: LIMIT, reservedCalls: 200, sequence: 200 })
  })

  t.test('that count in one record lose no count', async t => {
    const place = await harness.share(t)
    const hammered = await hammer.hit(place, { what: 'record', attempts: 15, limit: 0 })
    t.equal(sum(hammered), 45)
    const { records } = await place.open()
    t.match(await records.get('count'), { value: '45' })
  })

  t.test('that share an answer at once are one division', async t => {
    const place = await harness.share(t)
    await hammer.hit(place, { what: 'share', attempts: 4, limit: 10_007 })
    const { ledger } = await place.open()
    const rows = (await ledger.usage(MONTH)).map(({ shared }) => shared)
    t.same(rows.sort(ascending), [-12 * 769, ...Array<number>(12).fill(769)], '10007 among 13')
  })
}

const ascending = (one: number, other: number): number => one - other

function sum(hammered: { booked: number }[]): number {
  return hammered.reduce((total, { booked }) => total + booked, 0)
}
