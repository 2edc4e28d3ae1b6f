import t from 'tap'
import { AccountHistory } from '../../../src/credits/account/history.js'
import { burnOf, runwayOf, timeOfDay } from '../../../src/credits/account/runway.js'
import { memoryRecords } from '../../support/doubles/memory-records.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const NOW = Date.parse('2026-11-27T12:00:00Z')
const ago = (ms: number, outflow: number) => ({ at: NOW - ms, outflow })

t.test('burn is the outflow per second over each window that is known well enough', async t => {
  t.same(burnOf([], ago(0, 50)), {})
  t.same(burnOf([ago(9 * MINUTE, 0)], ago(0, 50)), {}, 'nine minutes are too little of an hour')
  t.same(burnOf([ago(10 * MINUTE, 0)], ago(0, 600)), { '1h': 1 })
  const day = [ago(13 * HOUR, 0), ago(61 * MINUTE, 1_000), ago(55 * MINUTE, 1_600)]
  t.same(burnOf(day, ago(0, 3_600)), { '1h': 2_600 / 3_660, '24h': 3_600 / (13 * 3_600) })
  const week = [ago(8 * 24 * HOUR, 0), ago(7 * 24 * HOUR, 1_000), ...day.map(({ at }) => ({ at, outflow: 605_800 }))]
  t.equal(burnOf(week, ago(0, 605_800))['7d'], 1)
  t.equal(burnOf(week, ago(0, 605_800))['1h'], 0, 'nothing is spent in the last hour')
  t.same(burnOf([ago(HOUR, 500)], ago(0, 400)), { '1h': 0 }, 'a booking that was corrected downwards is not income')
})

t.test('runway is the time the balance lasts at the highest known burn', async t => {
  t.same(runwayOf(7_200, { '1h': 2, '24h': 1 }, NOW), { window: '1h', seconds: 3_600, emptyAt: NOW + HOUR })
  t.equal(runwayOf(7_200, { '1h': 0, '24h': 1 }, NOW)?.window, '24h')
  t.equal(runwayOf(-5, { '1h': 1 }, NOW)?.seconds, 0)
  t.equal(runwayOf(undefined, { '1h': 2 }, NOW), undefined)
  t.equal(runwayOf(7_200, {}, NOW), undefined)
  t.equal(runwayOf(7_200, { '1h': 0 }, NOW), undefined, 'without spending there is no end')
})

t.test('the time of day is formatted in the time zone of the budgets', async t => {
  const evening = Date.parse('2026-11-27T22:40:00Z')
  t.equal(timeOfDay(evening, 'Europe/Berlin'), 'Friday 27 November 2026, 23:40 (Europe/Berlin)')
  t.equal(timeOfDay(evening, 'Asia/Tokyo'), 'Saturday 28 November 2026, 07:40 (Asia/Tokyo)')
})

t.test('history keeps one row per five minutes for all replicas, for eight days', async t => {
  const records = memoryRecords()
  const clock = { now: NOW }
  const open = () =>
    new AccountHistory({ records, now: () => clock.now, observer: { storeFailed: error => t.fail(String(error)) } })
  const [one, two] = [open(), open()]
  const snapshot = (outflow: number) => ({ remaining: 5, inFlight: 1, outflow })
  await Promise.all([one.record(snapshot(1)), two.record(snapshot(1))])
  clock.now += 299_999 - (NOW % 300_000)
  await one.record(snapshot(2))
  t.same(one.outflows, [{ at: NOW, outflow: 1 }], 'one row, although both replicas wrote at the same time')
  clock.now += 1
  await two.record(snapshot(3))
  await one.record(snapshot(4))
  t.same(
    one.outflows.map(({ outflow }) => outflow),
    [1, 3],
  )
  for (let day = 1; day <= 9; day++) {
    clock.now += 24 * HOUR
    await one.record(snapshot(10 * day))
  }
  t.same(
    one.outflows.map(({ outflow }) => outflow),
    [20, 30, 40, 50, 60, 70, 80, 90],
  )
  const late = open()
  await late.record(snapshot(99))
  t.same(late.outflows, one.outflows, 'a replica that starts later reads the rows')
})

t.test('history reads the last row another replica wrote before midnight', async t => {
  const records = memoryRecords()
  const clock = { now: Date.parse('2026-11-27T23:50:00Z') }
  const open = () =>
    new AccountHistory({ records, now: () => clock.now, observer: { storeFailed: error => t.fail(String(error)) } })
  const [one, two] = [open(), open()]
  await one.record({ remaining: undefined, inFlight: 0, outflow: 1 })
  clock.now += 5 * MINUTE
  await two.record({ remaining: 7, inFlight: 0, outflow: 2 })
  clock.now += 6 * MINUTE
  await one.record({ remaining: 7, inFlight: 0, outflow: 3 })
  t.same(
    one.outflows.map(({ outflow }) => outflow),
    [1, 2, 3],
  )
})

t.test('history reports a store failure and keeps the known rows', async t => {
  const records = memoryRecords()
  const reported: unknown[] = []
  const clock = { now: NOW }
  const history = new AccountHistory({
    records,
    now: () => clock.now,
    observer: { storeFailed: error => reported.push(error) },
  })
  await history.record({ remaining: 5, inFlight: 0, outflow: 1 })
  records.failing = 'before'
  clock.now += 5 * MINUTE
  await history.record({ remaining: 5, inFlight: 0, outflow: 2 })
  t.equal(reported.length, 1)
  t.same(history.outflows, [{ at: NOW, outflow: 1 }])
})
