import { defined } from '../contracts/defined.js'
import type { Minute } from '../contracts/overview.js'

/** Upper bounds of the duration buckets, milliseconds. A further bucket counts longer durations. */
export const BUCKETS_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000] as const

/** A minute as it is counted and stored, by one process or by all of them. */
export interface CountedMinute extends Minute {
  /**
   * Responses with a result, by duration: one count for each of `BUCKETS_MS`, and one for longer
   * ones.
   */
  durations: number[]
}

export function emptyMinute(): CountedMinute {
  return {
    requests: 0,
    errors: 0,
    answers: {},
    spent: 0,
    saved: 0,
    unknown: 0,
    teams: {},
    queue: 0,
    inFlight: 0,
    durations: Array(BUCKETS_MS.length + 1).fill(0),
  }
}

/** Adds up the same minute of two processes. `later` decides the balance. */
export function mergeMinutes(one: CountedMinute, later: CountedMinute): CountedMinute {
  return {
    requests: one.requests + later.requests,
    errors: one.errors + later.errors,
    answers: sums(one.answers, later.answers),
    spent: one.spent + later.spent,
    saved: one.saved + later.saved,
    unknown: one.unknown + later.unknown,
    teams: sums(one.teams, later.teams),
    durations: one.durations.map((count, bucket) => count + (later.durations[bucket] ?? 0)),
    queue: one.queue + later.queue,
    inFlight: one.inFlight + later.inFlight,
    ...defined({ balance: later.balance ?? one.balance }),
  }
}

function sums(one: Record<string, number>, other: Record<string, number>): Record<string, number> {
  const names = new Set([...Object.keys(one), ...Object.keys(other)])
  return Object.fromEntries([...names].map(name => [name, (one[name] ?? 0) + (other[name] ?? 0)]))
}

export function bucketOf(durationMs: number): number {
  const found = BUCKETS_MS.findIndex(bound => durationMs <= bound)
  return found === -1 ? BUCKETS_MS.length : found
}

/**
 * Estimates a quantile of the durations in milliseconds, by linear interpolation within its bucket.
 * Undefined if there are none.
 */
export function quantile(durations: readonly number[], share: number): number | undefined {
  const total = durations.reduce((sum, count) => sum + count, 0)
  if (total === 0) return undefined
  const rank = share * total
  let below = 0
  for (const [bucket, count] of durations.entries()) {
    if (count > 0 && below + count >= rank) {
      const from = BUCKETS_MS[bucket - 1] ?? 0
      const to = BUCKETS_MS[bucket] ?? from
      return from + ((to - from) * (rank - below)) / count
    }
    below += count
  }
  return BUCKETS_MS.at(-1)
}
