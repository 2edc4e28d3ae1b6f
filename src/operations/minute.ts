import type { Nanocredits } from '../nanocredits.js'

/** Upper bounds of the buckets in which durations are counted, milliseconds; the last one has none. */
export const BUCKETS_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000] as const

/** What happened in one minute, in one process or in all of them. Amounts are nanocredits. */
export interface Minute {
  requests: number
  errors: number
  /** Answers by where they came from: `hit`, `miss`, … */
  answers: Record<string, number>
  spent: Nanocredits
  saved: Nanocredits
  /** Booked for calls whose outcome is unknown. */
  unknown: Nanocredits
  /** Spent by each team. */
  teams: Record<string, Nanocredits>
  /** Answers with a picture, by how long they took: one count a bucket of `BUCKETS_MS`, and one for what took longer. */
  durations: number[]
  /** The balance as last heard. */
  balance?: Nanocredits
  /** At its end: purchases waiting, calls at Segmind. */
  queue: number
  inFlight: number
}

export function emptyMinute(): Minute {
  return {
    ...{ requests: 0, errors: 0, answers: {}, spent: 0, saved: 0, unknown: 0, teams: {}, queue: 0, inFlight: 0 },
    durations: Array(BUCKETS_MS.length + 1).fill(0),
  }
}

/** The same minute as two processes saw it, together; `later` has the later word on the balance. */
export function together(one: Minute, later: Minute): Minute {
  const balance = later.balance ?? one.balance
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
    ...(balance !== undefined && { balance }),
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

/** The time within which that share of the answers came, milliseconds: straight between the bounds of its bucket; undefined where there was none. */
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
