import type { Bucket } from './buckets.js'
import type { ChartSpec, Column } from './chart-specs.js'

/** The data of a chart: times in seconds and a column of values for each line. */
export interface ChartData {
  times: number[]
  columns: Column[]
  summary: string
  /** End of the last step in seconds, at most now. */
  end: number
}

export function chartData(spec: ChartSpec, buckets: readonly Bucket[], now: number): ChartData {
  const columns = spec.lines.map(line => buckets.map(bucket => line.value(bucket)))
  return {
    times: buckets.map(({ at }) => at / 1_000),
    columns,
    summary: spec.summary(columns, buckets),
    end: now / 1_000,
  }
}

/** Stacks columns on each other, the first one lowest. Missing values stay missing. */
export function stack(columns: readonly Column[]): Column[] {
  const stacked: Column[] = []
  for (const column of columns) {
    const below = stacked.at(-1)
    stacked.push(column.map((value, index) => (value === null ? null : value + (below?.[index] ?? 0))))
  }
  return stacked
}

/** Repeats the last values at the end of the last step, to draw it in its full width. */
export function extendToEnd({ times, columns, end }: ChartData): Pick<ChartData, 'times' | 'columns'> {
  return {
    times: [...times, Math.max(end, (times.at(-1) ?? 0) + 1)],
    columns: columns.map(column => [...column, column.at(-1) ?? null]),
  }
}

/** Returns the indexes of values without a neighbour, which a line does not show. */
export function isolatedIndexes(column: Column): number[] {
  return column.flatMap((value, index) => {
    const neighbour = column[index - 1] ?? column[index + 1] ?? null
    return value !== null && neighbour === null ? [index] : []
  })
}

/** Returns the upper end of the y axis: a little above the largest value, never 0. */
export function yMax(columns: readonly Column[], isStacked: boolean): number {
  const largest = isStacked ? 0 : Math.max(0, ...columns.flat().map(value => value ?? 0))
  return largest === 0 ? 1 : largest * 1.08
}

/** Returns the indexes with at least one value, latest first. */
export function knownIndexes(columns: readonly Column[]): number[] {
  const indexes = columns[0]?.map((_, index) => index) ?? []
  return indexes.filter(index => columns.some(column => (column[index] ?? null) !== null)).reverse()
}
