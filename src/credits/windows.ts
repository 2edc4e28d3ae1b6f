/** The calendar days and months a budget is counted in, in one time zone (`BUDGET_TIMEZONE`), days of 23 and 25 hours included. */
export interface BudgetCalendar {
  /** The windows an instant (milliseconds since 1970) falls in: `2026-11-22`, `2026-11`. */
  windows(at: number): { day: string; month: string }
  /** Whole seconds, rounded up and at least 1, until the window an instant falls in is over. */
  secondsLeft(at: number, window: 'daily' | 'monthly'): number
}

const HOUR_MS = 3_600_000

export function createBudgetCalendar(timeZone: string): BudgetCalendar {
  const format = new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' })
  const dayOf = (at: number): string => {
    const parts = Object.fromEntries(format.formatToParts(at).map(part => [part.type, part.value]))
    return `${parts.year}-${parts.month}-${parts.day}`
  }
  return {
    windows: at => ({ day: dayOf(at), month: dayOf(at).slice(0, 7) }),
    secondsLeft(at, window) {
      const length = window === 'daily' ? 10 : 7
      const name = (instant: number) => dayOf(instant).slice(0, length)
      return Math.max(1, Math.ceil((firstChange(at, name) - at) / 1000))
    },
  }
}

/** The first millisecond after `at` at which `name` differs: by hours, then by halving the hour. */
function firstChange(at: number, name: (instant: number) => string): number {
  const now = name(at)
  let before = at
  while (name(before + HOUR_MS) === now) before += HOUR_MS
  let after = before + HOUR_MS
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2)
    if (name(middle) === now) before = middle
    else after = middle
  }
  return after
}
