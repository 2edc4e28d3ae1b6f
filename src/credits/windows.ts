import type { BudgetWindow, BudgetWindows } from '../contracts/ledger.js'

/**
 * The budget windows: calendar days and months in one time zone (`BUDGET_TIMEZONE`), including days
 * of 23 and 25 hours.
 */
export interface BudgetCalendar {
  /** The day and month of an instant (milliseconds since 1970): `2026-11-22`, `2026-11`. */
  windows(at: number): BudgetWindows
  /** Seconds until the window of an instant ends, rounded up and at least 1. */
  secondsLeft(at: number, window: BudgetWindow): number
}

const HOUR_MS = 3_600_000

/** A day, its windows, and the part of it that is known: `from` up to, but without, `until`. */
interface KnownDay {
  windows: BudgetWindows
  from: number
  until: number
}

/** Formatting a date costs as much as the rest of a cached answer, so a day is computed once. */
export function createBudgetCalendar(timeZone: string): BudgetCalendar {
  const format = new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' })
  const compute = (at: number): BudgetWindows => {
    const parts = Object.fromEntries(format.formatToParts(at).map(part => [part.type, part.value]))
    const month = `${parts.year}-${parts.month}`
    return { day: `${month}-${parts.day}`, month }
  }
  let known: KnownDay | undefined
  let endOfMonth: { month: string; at: number } | undefined
  const monthEnd = (at: number): number => {
    const { month } = dayOf(at).windows
    if (endOfMonth?.month !== month) endOfMonth = { month, at: firstChange(at, instant => compute(instant).month) }
    return endOfMonth.at
  }
  const dayOf = (at: number): KnownDay => {
    if (known && at >= known.from && at < known.until) return known
    const windows = compute(at)
    // An earlier moment of the known day. Calls are also looked up by the time they were planned.
    const isKnown = known?.windows.day === windows.day
    const until = known && isKnown ? known.until : firstChange(at, instant => compute(instant).day)
    known = { windows, from: at, until }
    return known
  }
  return {
    windows: at => dayOf(at).windows,
    secondsLeft(at, window) {
      const end = window === 'daily' ? dayOf(at).until : monthEnd(at)
      return Math.max(1, Math.ceil((end - at) / 1000))
    },
  }
}

/**
 * Finds the first millisecond after `at` at which `name` differs. Searches by hours, then bisects
 * the hour.
 */
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
