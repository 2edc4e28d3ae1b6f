import t from 'tap'
import { AccountHistory } from '../../../src/credits/account/history.js'
import { burnOf, runwayOf, timeOfDay } from '../../../src/credits/account/runway.js'
import { memoryRecords } from '../../support/memory-records.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const NOW = Date.parse('2026-11-27T12:00:00Z')
const ago = (ms: number, gone: number) => ({ at: NOW - ms, gone })

t.test('burn: what has gone since the window began, for each window that is known well enough', async t => {
  t.same(burnOf([], ago(0, 50)), {})
  t.same(burnOf([ago(9 * MINUTE, 0)], ago(0, 50)), {}, 'nine minutes are no hour')
  t.same(burnOf([ago(10 * MINUTE, 0)], ago(0, 600)), { '1h': 1 })
  const day = [ago(13 * HOUR, 0), ago(61 * MINUTE, 1_000), ago(55 * MINUTE, 1_600)]
  t.same(burnOf(day, ago(0, 3_600)), { '1h': 2_600 / 3_660, '24h': 3_600 / (13 * 3_600) })
  const week = [ago(8 * 24 * HOUR, 0), ago(7 * 24 * HOUR, 1_000), ...day.map(({ at }) => ({ at, gone: 605_800 }))]
  t.equal(burnOf(week, ago(0, 605_800))['7d'], 1)
  t.equal(burnOf(week, ago(0, 605_800))['1h'], 0, 'nothing is spent now')
  t.same(burnOf([ago(HOUR, 500)], ago(0, 400)), { '1h': 0 }, 'what was booked too high is no income')
})

t.test(
  'runway: how long the balance lasts at the fastest rate, and when it ends; absent while that cannot be known',
  async t => {
    t.same(runwayOf(7_200, { '1h': 2, '24h': 1 }, NOW), { window: '1h', seconds: 3_600, emptyAt: NOW + HOUR })
    t.equal(runwayOf(7_200, { '1h': 0, '24h': 1 }, NOW)?.window, '24h')
    t.equal(runwayOf(-5, { '1h': 1 }, NOW)?.seconds, 0)
    t.equal(runwayOf(undefined, { '1h': 2 }, NOW), undefined)
    t.equal(runwayOf(7_200, {}, NOW), undefined)
    t.equal(runwayOf(7_200, { '1h': 0 }, NOW), undefined, 'nothing is spent: it lasts for ever')
  },
)

t.test('the time of day it falls on, where budgets are counted', async t => {
  const evening = Date.parse('2026-11-27T22:40:00Z')
  t.equal(timeOfDay(evening, 'Europe/Berlin'), 'Friday 27 November 2026, 23:40 (Europe/Berlin)')
  t.equal(timeOfDay(evening, 'Asia/Tokyo'), 'Saturday 28 November 2026, 07:40 (Asia/Tokyo)')
})

t.test('history: a row each five minutes, written once for all replicas, forgotten after eight days', async t => {
  const records = memoryRecords()
  const clock = { now: NOW }
  const open = () => new AccountHistory({ records, now: () => clock.now, onFailure: error => t.fail(String(error)) })
  const [one, two] = [open(), open()]
  const look = (gone: number) => ({ remaining: 5, inFlight: 1, gone })
  await Promise.all([one.note(look(1)), two.note(look(1))])
  clock.now += 299_999 - (NOW % 300_000)
  await one.note(look(2))
  t.same(one.spending, [{ at: NOW, gone: 1 }], 'once, though both wrote at the same time')
  clock.now += 1
  await two.note(look(3))
  await one.note(look(4))
  t.same(
    one.spending.map(({ gone }) => gone),
    [1, 3],
  )
  for (let day = 1; day <= 9; day++) {
    clock.now += 24 * HOUR
    await one.note(look(10 * day))
  }
  t.same(
    one.spending.map(({ gone }) => gone),
    [20, 30, 40, 50, 60, 70, 80, 90],
  )
  const late = open()
  await late.note(look(99))
  t.same(late.spending, one.spending, 'one that starts later reads it')
})

t.test('history: what another replica wrote last yesterday is read after midnight', async t => {
  const records = memoryRecords()
  const clock = { now: Date.parse('2026-11-27T23:50:00Z') }
  const open = () => new AccountHistory({ records, now: () => clock.now, onFailure: error => t.fail(String(error)) })
  const [one, two] = [open(), open()]
  await one.note({ remaining: undefined, inFlight: 0, gone: 1 })
  clock.now += 5 * MINUTE
  await two.note({ remaining: 7, inFlight: 0, gone: 2 })
  clock.now += 6 * MINUTE
  await one.note({ remaining: 7, inFlight: 0, gone: 3 })
  t.same(
    one.spending.map(({ gone }) => gone),
    [1, 2, 3],
  )
})

t.test('history: a store that is down is told, and loses nothing that was known', async t => {
  const records = memoryRecords()
  const told: unknown[] = []
  const clock = { now: NOW }
  const history = new AccountHistory({ records, now: () => clock.now, onFailure: error => told.push(error) })
  await history.note({ remaining: 5, inFlight: 0, gone: 1 })
  records.failing = 'before'
  clock.now += 5 * MINUTE
  await history.note({ remaining: 5, inFlight: 0, gone: 2 })
  t.equal(told.length, 1)
  t.same(history.spending, [{ at: NOW, gone: 1 }])
})
