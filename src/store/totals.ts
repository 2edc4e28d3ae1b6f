import type { Nanocredits } from '../nanocredits.js'
import { type AccountBook, StoreError, type TeamActivity, type UsageDay } from '../storage.js'

/** What is counted about one team on one day; both stores keep these beside the entries, so that reading them never means adding up calls. */
export const COUNTERS = [
  'requests',
  'hits',
  'coalesced',
  'savedByCache',
  'savedByCoalescing',
  'paidCalls',
  'charged',
  'unknownCalls',
  'unknown',
  'reservedCalls',
  'reserved',
  'shared',
] as const satisfies (keyof UsageDay)[]

export type Counter = (typeof COUNTERS)[number]
export type Totals = Record<Counter, number>

/** The counters that the cache feeds, not the ledger. */
export const ACTIVITY_COUNTERS = COUNTERS.slice(0, 5) as (keyof TeamActivity)[]

/** Counters as they are read, the absent ones as 0. */
export function toTotals(counters: Partial<Totals> = {}): Totals {
  return Object.fromEntries(COUNTERS.map(name => [name, counters[name] ?? 0])) as Totals
}

/** What is booked in the totals of a day: charged, unknown and reserved. */
export function bookedIn(totals: Partial<Totals> = {}): Nanocredits {
  return (totals.charged ?? 0) + (totals.unknown ?? 0) + (totals.reserved ?? 0)
}

/** Every date a month may have: `2026-11` → `2026-11-01` … `2026-11-31`. */
export function daysOf(month: string): string[] {
  return Array.from({ length: 31 }, (_, index) => `${month}-${String(index + 1).padStart(2, '0')}`)
}

/** Orders a statement by day, then team. */
export function byDayThenTeam(one: UsageDay, other: UsageDay): number {
  return compare(one.day, other.day) || compare(one.team, other.team)
}

const compare = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0)

/** Refuses what is no amount before anything is written. Throws `StoreError`. */
export function checkAmounts(amounts: Record<string, number | undefined>): void {
  for (const [name, amount] of Object.entries(amounts)) {
    if (amount === undefined || (Number.isSafeInteger(amount) && amount >= 0)) continue
    throw new StoreError(`${name} is ${amount}, which is not an amount that can be booked`)
  }
}

/** The counters of the account as both stores keep them; what is reserved is counted beside them. */
export const ACCOUNT_COUNTERS = [
  'sequence',
  'spent',
  'reserved',
  'calls',
  'estimatedCalls',
  'unknownAt',
] as const satisfies (keyof AccountBook)[]

/** Costs that are remembered for the price of the next call. */
export const COSTS_REMEMBERED = 200
