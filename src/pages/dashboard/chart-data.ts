import type { Bucket } from './buckets.js'
import type { ChartSpec, Column } from './chart-specs.js'

/** What a chart draws and tells: times in seconds, a column for each line. */
export interface ChartData {
  times: number[]
  columns: Column[]
  summary: string
  /** Seconds: where the last step ends, which may be now. */
  until: number
}

export function chartData(spec: ChartSpec, buckets: readonly Bucket[], now: number): ChartData {
  const columns = spec.lines.map(line => buckets.map(bucket => line.of(bucket)))
  return {
    times: buckets.map(({ at }) => at / 1_000),
    columns,
    summary: spec.summary(columns, buckets),
    until: now / 1_000,
  }
}

/** Shares that stand on each other, the first one lowest; unknown stays unknown. */
export function stacked(columns: readonly Column[]): Column[] {
  const sums: Column[] = []
  for (const column of columns) {
    const below = sums.at(-1)
    sums.push(column.map((value, index) => (value === null ? null : value + (below?.[index] ?? 0))))
  }
  return sums
}

/** With the end of the last step, so that it is as wide as it has lasted. */
export function closed({ times, columns, until }: ChartData): { times: number[]; columns: Column[] } {
  return { times: [...times, Math.max(until, (times.at(-1) ?? 0) + 1)], columns: columns.map(withEnd) }
}

function withEnd(column: Column): Column {
  return [...column, column.at(-1) ?? null]
}

/** The places of values with nothing known on either side: a line does not show them. */
export function alone(column: Column): number[] {
  return column.flatMap((value, index) => {
    const before = column[index - 1] ?? null
    const after = column[index + 1] ?? null
    return value !== null && before === null && after === null ? [index] : []
  })
}

/** How high a chart must be: a little over the largest value, and never nothing. */
export function ceiling(columns: readonly Column[], isStacked: boolean): number {
  if (isStacked) return 1
  const largest = columns.flat().reduce<number>((max, value) => Math.max(max, value ?? 0), 0)
  return largest === 0 ? 1 : largest * 1.08
}

/** The places that have any value, the latest first: rows of the table. */
export function knownPlaces(columns: readonly Column[]): number[] {
  const [first = []] = columns
  return first
    .flatMap((_, index) => (columns.some(column => (column[index] ?? null) !== null) ? [index] : []))
    .reverse()
}

/** The last place that has any value. */
export function lastKnown(columns: readonly Column[]): number | undefined {
  return knownPlaces(columns)[0]
}
