import t from 'tap'
import { createBudgetCalendar } from '../../src/credits/windows.js'

t.test('days and months begin at midnight of the budget time zone', async t => {
  const rows: [zone: string, at: string, day: string, month: string][] = [
    ['UTC', '2026-11-22T00:00:00.000Z', '2026-11-22', '2026-11'],
    ['UTC', '2026-11-21T23:59:59.999Z', '2026-11-21', '2026-11'],
    ['Europe/Berlin', '2026-11-30T23:30:00Z', '2026-12-01', '2026-12'],
    ['America/Los_Angeles', '2026-12-01T07:59:59Z', '2026-11-30', '2026-11'],
    ['Asia/Kolkata', '2026-11-22T18:30:00Z', '2026-11-23', '2026-11'],
  ]
  for (const [zone, at, day, month] of rows) {
    t.same(createBudgetCalendar(zone).windows(Date.parse(at)), { day, month }, `${zone} ${at}`)
  }
})

t.test('secondsLeft ends at the next day or month, including days of 23 and 25 hours', async t => {
  const rows: [zone: string, at: string, window: 'daily' | 'monthly', seconds: number][] = [
    ['UTC', '2026-11-22T00:00:00Z', 'daily', 86_400],
    ['UTC', '2026-11-22T23:59:59.500Z', 'daily', 1],
    ['UTC', '2026-11-22T00:00:00Z', 'monthly', 9 * 86_400],
    ['UTC', '2026-12-31T12:00:00Z', 'monthly', 43_200],
    ['Europe/Berlin', '2026-10-24T22:00:00Z', 'daily', 25 * 3600],
    ['Europe/Berlin', '2026-03-28T23:00:00Z', 'daily', 23 * 3600],
    ['Asia/Kolkata', '2026-11-22T18:00:00Z', 'daily', 1800],
  ]
  for (const [zone, at, window, seconds] of rows) {
    t.equal(createBudgetCalendar(zone).secondsLeft(Date.parse(at), window), seconds, `${zone} ${at} ${window}`)
  }
})
