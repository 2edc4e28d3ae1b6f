import type { HistoryMinute, Overview } from '../api/api-types.js'

/** Values at one moment, milliseconds since 1970. */
export interface Gauges {
  at: number
  balance?: number
  queue: number
  inFlight: number
}

/** A completed minute. `at` is its start. */
export interface Minute extends Gauges {
  requests: number
  errors: number
  answers: Readonly<Record<string, number>>
  spent: number
  saved: number
  p50Ms?: number
  p95Ms?: number
}

export const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const HISTORY_HOURS = 48

export function parseMinutes(minutes: readonly HistoryMinute[]): Minute[] {
  return minutes.map(({ at, spentCredits, savedCredits, balanceCredits, ...minute }) => ({
    ...minute,
    at: Date.parse(at),
    spent: spentCredits,
    saved: savedCredits,
    ...(balanceCredits !== undefined && { balance: balanceCredits }),
  }))
}

/** Merges minutes in order. Newer versions replace older ones; the last 48 hours stay. */
export function mergeMinutes(known: readonly Minute[], fetched: readonly Minute[], now: number): Minute[] {
  const byTime = new Map([...known, ...fetched].map(minute => [minute.at, minute]))
  return [...byTime.values()]
    .filter(({ at }) => at >= now - HISTORY_HOURS * HOUR_MS)
    .sort((one, other) => one.at - other.at)
}

export interface Fetched {
  hours: number
  at: number
}

/** Returns how many hours to fetch so that the last `wanted` are known. */
export function hoursToFetch(wanted: number, last: Fetched | undefined, now: number): number {
  if (!last || last.hours < wanted) return wanted
  // One hour extra: replicas that lost their store write their minutes late.
  return Math.min(HISTORY_HOURS, wanted, Math.ceil((now - last.at) / HOUR_MS) + 1)
}

export function currentGauges({ at, credits, gateway }: Overview): Gauges {
  const { credits: balance } = credits.balance
  return {
    at: Date.parse(at),
    ...(balance !== undefined && { balance }),
    queue: gateway.queue.reduce((sum, { waiting }) => sum + waiting, 0),
    inFlight: gateway.inFlight,
  }
}

/** Appends a sample. Keeps the latest of each minute until the history contains that minute. */
export function appendSample(samples: readonly Gauges[], next: Gauges, history: readonly Minute[]): Gauges[] {
  const known = (history.at(-1)?.at ?? 0) + MINUTE_MS
  const minuteOf = ({ at }: Gauges) => Math.floor(at / MINUTE_MS)
  return [...samples.filter(one => one.at >= known && minuteOf(one) !== minuteOf(next)), next]
}
