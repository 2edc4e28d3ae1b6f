import { type Gauges, MINUTE_MS, type Minute } from './history.js'

/** A time span to show, and the length of one chart step in it. */
export interface TimeRange {
  hours: number
  stepMinutes: number
}

export const TIME_RANGES: readonly TimeRange[] = [
  { hours: 1, stepMinutes: 1 },
  { hours: 6, stepMinutes: 5 },
  { hours: 24, stepMinutes: 15 },
  { hours: 48, stepMinutes: 30 },
]

/** The data of one step. Without data, `minutes` is empty. */
export interface Bucket {
  /** Start, milliseconds since 1970. */
  at: number
  minutes: readonly Minute[]
  gauges: readonly Gauges[]
}

type Value = number | null | undefined

/** Sorts data into the steps of a range that ends now, oldest first. */
export function toBuckets(
  minutes: readonly Minute[],
  samples: readonly Gauges[],
  { hours, stepMinutes }: TimeRange,
  now: number,
): Bucket[] {
  const stepMs = stepMinutes * MINUTE_MS
  const last = Math.floor(now / stepMs)
  const length = (hours * 60) / stepMinutes + 1
  const buckets = Array.from({ length }, (_, index) => ({
    at: (last - length + 1 + index) * stepMs,
    minutes: [] as Minute[],
    gauges: [] as Gauges[],
  }))
  const bucketAt = (at: number) => buckets[Math.floor(at / stepMs) - last + length - 1]
  for (const minute of minutes) bucketAt(minute.at)?.minutes.push(minute)
  for (const gauges of [...minutes, ...samples]) bucketAt(gauges.at)?.gauges.push(gauges)
  return buckets
}

/** Sums a value over the known minutes. Returns null if there are none. */
export function sum({ minutes }: Bucket, value: (minute: Minute) => number): number | null {
  return minutes.length === 0 ? null : total(minutes, value)
}

/** Returns the hourly rate of a value, extrapolated from the known minutes. */
export function perHour(bucket: Bucket, value: (minute: Minute) => number): number | null {
  const known = sum(bucket, value)
  return known === null ? null : (known / bucket.minutes.length) * 60
}

export function total(minutes: readonly Minute[], value: (minute: Minute) => number): number {
  return minutes.reduce((sum, minute) => sum + value(minute), 0)
}

export function max(values: readonly Value[]): number | null {
  const known = values.filter(isKnown)
  return known.length === 0 ? null : Math.max(...known)
}

/** Returns the median, the lower one of an even number of values. */
export function median(values: readonly Value[]): number | null {
  const known = values.filter(isKnown).sort((one, other) => one - other)
  return known[Math.floor((known.length - 1) / 2)] ?? null
}

export function last(values: readonly Value[]): number | null {
  return values.findLast(isKnown) ?? null
}

function isKnown(value: Value): value is number {
  return typeof value === 'number'
}
