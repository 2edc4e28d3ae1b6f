import type { Gauges, Minute } from './history.js'

/** A span that can be looked at, and how much of it one point of a chart stands for. */
export interface Range {
  hours: number
  stepMinutes: number
}

export const RANGES: readonly Range[] = [
  { hours: 1, stepMinutes: 1 },
  { hours: 6, stepMinutes: 5 },
  { hours: 24, stepMinutes: 15 },
  { hours: 48, stepMinutes: 30 },
]

/** What is known of one step; no minutes at all where nothing is known. */
export interface Bucket {
  /** When it began, milliseconds since 1970. */
  at: number
  minutes: readonly Minute[]
  gauges: readonly Gauges[]
}

const MINUTE_MS = 60_000

/** The steps of a span that ends now, the oldest first. */
export function bucketsOf(
  minutes: readonly Minute[],
  samples: readonly Gauges[],
  { hours, stepMinutes }: Range,
  now: number,
): Bucket[] {
  const stepMs = stepMinutes * MINUTE_MS
  const last = Math.floor(now / stepMs)
  const first = last - (hours * 60) / stepMinutes
  const placed = grouped(minutes, stepMs)
  const gauged = grouped<Gauges>([...minutes, ...samples], stepMs)
  return Array.from({ length: last - first + 1 }, (_, index) => ({
    at: (first + index) * stepMs,
    minutes: placed.get(first + index) ?? [],
    gauges: gauged.get(first + index) ?? [],
  }))
}

function grouped<T extends Gauges>(all: readonly T[], stepMs: number): Map<number, T[]> {
  const groups = new Map<number, T[]>()
  for (const one of all) {
    const place = Math.floor(one.at / stepMs)
    const group = groups.get(place)
    if (group) group.push(one)
    else groups.set(place, [one])
  }
  return groups
}

/** The sum of a figure over the minutes that are known; null where none is. */
export function sum(bucket: Bucket, figure: (minute: Minute) => number): number | null {
  if (bucket.minutes.length === 0) return null
  return bucket.minutes.reduce((total, minute) => total + figure(minute), 0)
}

/** The same for each hour: of a step of which only some minutes are known, these are taken for all. */
export function perHour(bucket: Bucket, figure: (minute: Minute) => number): number | null {
  const total = sum(bucket, figure)
  return total === null ? null : (total / bucket.minutes.length) * 60
}

export function largest(values: readonly (number | undefined)[]): number | null {
  const known = values.filter(value => value !== undefined)
  return known.length === 0 ? null : Math.max(...known)
}

/** The middle one, the lower of two. */
export function middle(values: readonly (number | undefined)[]): number | null {
  const known = values.filter(value => value !== undefined).sort((one, other) => one - other)
  return known[Math.floor((known.length - 1) / 2)] ?? null
}

export function latest(values: readonly (number | undefined)[]): number | null {
  return values.findLast(value => value !== undefined) ?? null
}
