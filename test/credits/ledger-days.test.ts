import t, { type Test } from 'tap'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.js'
import { aCaller } from '../support/doubles/team.js'
import { entriesOf } from '../support/entries-of.js'
import { aPlan, ESTIMATE, ledgerWorld, startProcess } from './ledger-world.js'

const HOUR_MS = 3_600_000

/** Days in Berlin with and without a clock change: start, hours of the day, hours of the month. */
const DAYS = [
  { day: '2026-03-29', begins: '2026-03-28T23:00:00Z', hours: 23, month: '2026-03', monthHours: 31 * 24 - 1 },
  { day: '2026-10-25', begins: '2026-10-24T22:00:00Z', hours: 25, month: '2026-10', monthHours: 31 * 24 + 1 },
  { day: '2026-07-01', begins: '2026-06-30T22:00:00Z', hours: 24, month: '2026-07', monthHours: 31 * 24 },
]

/** A ledger over a real store, which keeps the windows apart. */
async function openLedger(t: Test) {
  const store = await openEmbeddedStore({ dir: t.testdir(), maxBytes: 1e6 })
  const { ledger, kill } = startProcess(ledgerWorld(), { store: store.ledger, timeZone: 'Europe/Berlin' })
  t.teardown(() => {
    kill()
    return store.close()
  })
  let calls = 0
  return {
    books: store.ledger,
    /** Reserves one call. If it is refused, returns the `Retry-After` in seconds. */
    async reserve(at: number, budget: { daily?: number; monthly?: number }): Promise<'booked' | number> {
      try {
        await ledger.reserve(aPlan(`call-${++calls}`, aCaller({ budget }), { at }))
        return 'booked'
      } catch (error) {
        const { code, retryAfterSeconds } = error as { code: string; retryAfterSeconds: number }
        if (code !== 'budget_exhausted') throw error
        return retryAfterSeconds
      }
    },
  }
}

for (const { day, begins, hours, month } of DAYS) {
  t.test(`the budget of ${day} covers all of its ${hours} hours, and a refusal names its end`, async t => {
    const { reserve, books } = await openLedger(t)
    const start = Date.parse(begins)
    const end = start + hours * HOUR_MS
    const daily = { daily: ESTIMATE }
    t.equal(await reserve(start - 1, daily), 'booked', 'the last millisecond of the previous day belongs to that day')
    t.equal(await reserve(start, daily), 'booked')
    for (let hour = 0; hour < hours; hour++) {
      const at = start + hour * HOUR_MS
      t.equal(await reserve(at, daily), (hours - hour) * 3_600, `${hour} hours after midnight`)
    }
    t.equal(await reserve(end - 1, daily), 1)
    t.equal(await reserve(end - 1_500, daily), 2, 'rounded up, so that a retry after that time succeeds')
    t.equal(await reserve(end, daily), 'booked', 'the next day begins')
    t.same(await books.booked('vision', { day, month }), {
      daily: ESTIMATE,
      monthly: (day.endsWith('-01') ? 2 : 3) * ESTIMATE,
    })
    t.same(
      (await entriesOf(books, day)).map(({ at }) => at),
      [start],
    )
  })
}

for (const { month, monthHours } of DAYS) {
  t.test(`a refusal by the budget of ${month} names the end of its ${monthHours} hours`, async t => {
    const { reserve, books } = await openLedger(t)
    const { begins, day, hours } = DAYS.find(of => of.month === month) as (typeof DAYS)[number]
    const start = Date.parse(begins) - hoursBefore(day) * HOUR_MS
    const end = start + monthHours * HOUR_MS
    const monthly = { monthly: ESTIMATE }
    t.equal(await reserve(start - 1, monthly), 'booked', 'the previous month')
    t.equal(await reserve(start, monthly), 'booked')
    t.equal(await reserve(start, monthly), monthHours * 3_600)
    t.equal(
      await reserve(Date.parse(begins) + hours * HOUR_MS, monthly),
      (end - Date.parse(begins)) / 1_000 - hours * 3_600,
    )
    t.equal(await reserve(end - 1, monthly), 1)
    t.equal(await reserve(end, monthly), 'booked', 'the next month begins')
    t.match(await books.booked('vision', { day, month }), { monthly: ESTIMATE })
  })
}

t.test('the hour that occurs twice belongs to the same day both times', async t => {
  const { reserve } = await openLedger(t)
  const halfPastTwo = Date.parse('2026-10-25T00:30:00Z')
  t.equal(await reserve(halfPastTwo, { daily: ESTIMATE }), 'booked')
  t.equal(await reserve(halfPastTwo + HOUR_MS, { daily: ESTIMATE }), 21.5 * 3_600)
})

t.test('an exhausted day is reported before an exhausted month, each with its own end', async t => {
  const { reserve } = await openLedger(t)
  const noon = Date.parse('2026-10-25T11:00:00Z')
  await reserve(noon, {})
  t.equal(await reserve(noon, { daily: ESTIMATE, monthly: ESTIMATE }), 12 * 3_600)
  t.equal(await reserve(noon, { daily: 2 * ESTIMATE, monthly: ESTIMATE }), (12 + 6 * 24) * 3_600)
})

/**
 * Hours from the start of the month to the start of the day. No clock change falls between them.
 */
function hoursBefore(day: string): number {
  return (Number(day.slice(-2)) - 1) * 24
}
