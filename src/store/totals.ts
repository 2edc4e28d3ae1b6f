import type { Nanocredits } from '../contracts/nanocredits.js'
import { type LedgerTotals, StoreError, type TeamActivity, type UsageDay } from '../contracts/store.js'

/**
 * Counters of one team's day. Both stores keep them next to the entries, so that a read need not
 * add up calls.
 */
export const DAY_COUNTERS = [
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

export type DayCounter = (typeof DAY_COUNTERS)[number]
export type DayTotals = Record<DayCounter, number>

/** The day's counters that come from the cache and not from the ledger. */
export const ACTIVITY_COUNTERS = DAY_COUNTERS.slice(0, 5) as (keyof TeamActivity)[]

/** Fills in 0 for absent counters. */
export function toDayTotals(counters: Partial<DayTotals> = {}): DayTotals {
  return Object.fromEntries(DAY_COUNTERS.map(name => [name, counters[name] ?? 0])) as DayTotals
}

/** Sums the booked amounts of a day: charged, unknown and reserved. */
export function bookedIn(totals: Partial<DayTotals> = {}): Nanocredits {
  return (totals.charged ?? 0) + (totals.unknown ?? 0) + (totals.reserved ?? 0)
}

/** Lists every date that a month may have: `2026-11` → `2026-11-01` … `2026-11-31`. */
export function daysOf(month: string): string[] {
  return Array.from({ length: 31 }, (_, index) => `${month}-${String(index + 1).padStart(2, '0')}`)
}

/** Orders usage by day, then team. */
export function byDayThenTeam(one: UsageDay, other: UsageDay): number {
  return compare(one.day, other.day) || compare(one.team, other.team)
}

const compare = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0)

/**
 * Throws `StoreError` for an amount that is not a non-negative safe integer, before anything is
 * written.
 */
export function checkAmounts(amounts: Record<string, number | undefined>): void {
  for (const [name, amount] of Object.entries(amounts)) {
    if (amount === undefined || (Number.isSafeInteger(amount) && amount >= 0)) continue
    throw new StoreError(`${name} cannot be booked: it is ${amount}, and must be an integer from 0 to 2^53 − 1`)
  }
}

/** Counters of `LedgerTotals` that both stores keep. The reserved calls are counted separately. */
export const LEDGER_COUNTERS = [
  'sequence',
  'spent',
  'reserved',
  'calls',
  'estimatedCalls',
  'unknownAt',
] as const satisfies (keyof LedgerTotals)[]

/** Number of costs remembered to estimate the next call. */
/** Checksums of the last steps that the ledger keeps. */
export const KEPT_CHECKSUMS = 1_000

export const MAX_RECENT_COSTS = 200
