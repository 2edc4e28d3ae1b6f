import type { Overview, ToldMinute } from './api-types.js'

/** What was there at one moment, milliseconds since 1970. */
export interface Gauges {
  at: number
  balance?: number
  queue: number
  inFlight: number
}

/** A minute that is over; `at` is when it began. */
export interface Minute extends Gauges {
  requests: number
  errors: number
  answers: Readonly<Record<string, number>>
  spent: number
  saved: number
  p50Ms?: number
  p95Ms?: number
}

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
export const HISTORY_HOURS = 48

export function readMinutes(told: readonly ToldMinute[]): Minute[] {
  return told.map(({ at, spentCredits, savedCredits, balanceCredits, ...minute }) => ({
    ...minute,
    ...{ at: Date.parse(at), spent: spentCredits, saved: savedCredits },
    ...(balanceCredits !== undefined && { balance: balanceCredits }),
  }))
}

/** What is known with what was heard since: the later word on a minute counts, and what is older than 48 hours goes. In order. */
export function merged(known: readonly Minute[], news: readonly Minute[], now: number): Minute[] {
  const byTime = new Map([...known, ...news].map(minute => [minute.at, minute]))
  return [...byTime.values()]
    .filter(({ at }) => at >= now - HISTORY_HOURS * HOUR_MS)
    .sort((one, other) => one.at - other.at)
}

/** How many hours must be asked for to know the last `wanted`, when it was last asked for `asked` hours at `askedAt`. */
export function hoursToAsk(wanted: number, last: { hours: number; askedAt: number } | undefined, now: number): number {
  if (!last || last.hours < wanted) return wanted
  // An hour more than has passed: replicas that were cut off from the store write what they know late.
  return Math.min(HISTORY_HOURS, wanted, Math.ceil((now - last.askedAt) / HOUR_MS) + 1)
}

/** What is there now, as a moment after the minutes that are over. */
export function gaugesNow({ at, credits, gateway }: Overview): Gauges {
  const { credits: balance } = credits.balance
  return {
    at: Date.parse(at),
    ...(balance !== undefined && { balance }),
    queue: gateway.queue.reduce((sum, { waiting }) => sum + waiting, 0),
    inFlight: gateway.inFlight,
  }
}

/** The latest of each minute, in order; those that the history has by now go. */
export function withGauges(kept: readonly Gauges[], next: Gauges, history: readonly Minute[]): Gauges[] {
  const known = (history.at(-1)?.at ?? 0) + MINUTE_MS
  const minuteOf = ({ at }: Gauges) => Math.floor(at / MINUTE_MS)
  return [...kept.filter(one => one.at >= known && minuteOf(one) !== minuteOf(next)), next]
}
