import fc from 'fast-check'
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

t.test('a calendar answers as a new one does, whatever it was asked before', async t => {
  const START = Date.parse('2026-10-20T00:00:00Z')
  const zones = ['UTC', 'Europe/Berlin', 'America/Los_Angeles', 'Asia/Kolkata', 'Pacific/Apia']
  const minutes = fc.array(fc.integer({ min: 0, max: 20 * 24 * 60 }), { minLength: 2, maxLength: 30 })
  fc.assert(
    fc.property(fc.constantFrom(...zones), minutes, (zone, asked) => {
      const calendar = createBudgetCalendar(zone)
      return asked.every(minute => {
        const at = START + minute * 60_000
        const fresh = createBudgetCalendar(zone)
        const { day, month } = fresh.windows(at)
        const windows = calendar.windows(at)
        const isSame = windows.day === day && windows.month === month
        const ends = (['daily', 'monthly'] as const).map(
          window => calendar.secondsLeft(at, window) === createBudgetCalendar(zone).secondsLeft(at, window),
        )
        return isSame && ends.every(isEqual => isEqual)
      })
    }),
    { numRuns: 40 },
  )
  t.pass('every answer is the same')
})
