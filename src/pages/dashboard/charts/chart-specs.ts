import { alignedCredits, count, credits, milliseconds, percent } from '../../format.js'
import { type Bucket, last, max, median, perHour, sum, total } from './buckets.js'
import type { Minute } from './history.js'

export type Column = (number | null)[]

export interface Line {
  label: string
  /** Custom property of the style sheet. */
  colour: string
  style: 'line' | 'area' | 'step' | 'dashed'
  value(bucket: Bucket): number | null
}

export interface ChartSpec {
  id: string
  title: string
  unit: string
  lines: readonly Line[]
  /** Lines are shares that add up to 1. */
  isStacked?: boolean
  /** Values are whole numbers. */
  isCount?: boolean
  format(value: number): string
  /** Formats values in columns. Default: `format`. */
  formatAligned?(value: number): string
  /** Summarises the chart in one sentence. */
  summary(columns: readonly Column[], buckets: readonly Bucket[]): string
}

const NO_DATA = 'No data for this period.'

/** Returns the charts of the page in order. The balance chart shows a reserve above 0 as a line. */
export function chartSpecs(reserve: number): ChartSpec[] {
  return [balanceChart(reserve), spendChart(), sourceChart(), latencyChart(), loadChart(), errorChart()]
}

function balanceChart(reserve: number): ChartSpec {
  const balance: Line = {
    label: 'Balance',
    colour: '--series-1',
    style: 'area',
    value: ({ gauges }) => last(gauges.map(gauge => gauge.balance)),
  }
  const line: Line = { label: 'Reserve', colour: '--series-3', style: 'dashed', value: () => reserve }
  return {
    id: 'balance',
    title: 'Balance',
    unit: 'credits',
    format: credits,
    formatAligned: alignedCredits,
    lines: reserve > 0 ? [balance, line] : [balance],
    summary([values = []]) {
      const known = values.filter(value => value !== null)
      if (known.length === 0) return NO_DATA
      const [lowest, highest] = [credits(Math.min(...known)), credits(Math.max(...known))]
      return `From ${credits(known[0])} to ${credits(known.at(-1))} credits (lowest ${lowest}, highest ${highest}).`
    },
  }
}

function spendChart(): ChartSpec {
  return {
    id: 'spending',
    title: 'Spent and saved',
    unit: 'credits per hour',
    format: credits,
    formatAligned: alignedCredits,
    lines: [
      { label: 'Spent', colour: '--series-1', style: 'step', value: bucket => perHour(bucket, ({ spent }) => spent) },
      { label: 'Saved', colour: '--series-2', style: 'step', value: bucket => perHour(bucket, ({ saved }) => saved) },
    ],
    summary: summaryOf(minutes => {
      const [spent, saved] = [total(minutes, minute => minute.spent), total(minutes, minute => minute.saved)]
      return `${credits(spent)} credits spent, ${credits(saved)} saved by cache hits and coalescing.`
    }),
  }
}

/** Sources of results, cheapest first. */
const SOURCES = [
  { source: 'hit', label: 'Hit', colour: '--series-2' },
  { source: 'coalesced', label: 'Coalesced', colour: '--series-5' },
  { source: 'stale', label: 'Stale', colour: '--series-3' },
  { source: 'miss', label: 'Miss', colour: '--series-1' },
  { source: 'bypass', label: 'Bypass', colour: '--series-6' },
] as const
const FREE = ['hit', 'coalesced', 'stale']

function sourceChart(): ChartSpec {
  return {
    id: 'outcome',
    title: 'Cache outcome',
    unit: 'share of results',
    format: percent,
    isStacked: true,
    lines: SOURCES.map(({ source, ...line }) => ({ ...line, style: 'area', value: bucket => share(bucket, source) })),
    summary: summaryOf(minutes => {
      const results = countResults(minutes)
      if (results === 0) return 'No results served.'
      return `${percent(countResults(minutes, FREE) / results)} of ${count(results)} results were free.`
    }),
  }
}

function latencyChart(): ChartSpec {
  return {
    id: 'latency',
    title: 'Latency',
    unit: 'slowest minute of each step',
    format: milliseconds,
    lines: [
      {
        label: 'p95',
        colour: '--series-3',
        style: 'line',
        value: ({ minutes }) => max(minutes.map(minute => minute.p95Ms)),
      },
      {
        label: 'p50',
        colour: '--series-1',
        style: 'line',
        value: ({ minutes }) => max(minutes.map(minute => minute.p50Ms)),
      },
    ],
    summary: summaryOf(minutes => {
      const p50 = median(minutes.map(minute => minute.p50Ms))
      const p95 = max(minutes.map(minute => minute.p95Ms))
      if (p50 === null || p95 === null) return 'No results served.'
      return `p50 ${milliseconds(p50)} in the median minute, p95 ${milliseconds(p95)} in the slowest.`
    }),
  }
}

function loadChart(): ChartSpec {
  return {
    id: 'load',
    title: 'Queue and calls in flight',
    unit: 'highest sample of each step',
    format: count,
    isCount: true,
    lines: [
      {
        label: 'Queued',
        colour: '--series-3',
        style: 'step',
        value: ({ gauges }) => max(gauges.map(({ queue }) => queue)),
      },
      {
        label: 'In flight',
        colour: '--series-1',
        style: 'step',
        value: ({ gauges }) => max(gauges.map(({ inFlight }) => inFlight)),
      },
    ],
    summary([queued = [], inFlight = []]) {
      const [mostQueued, mostInFlight] = [max(queued), max(inFlight)]
      if (mostQueued === null || mostInFlight === null) return NO_DATA
      return `At most ${count(mostQueued)} queued and ${count(mostInFlight)} in flight.`
    },
  }
}

function errorChart(): ChartSpec {
  return {
    id: 'errors',
    title: 'Errors',
    unit: 'failed requests in each step',
    format: count,
    isCount: true,
    lines: [{ label: 'Errors', colour: '--series-4', style: 'step', value: bucket => sum(bucket, one => one.errors) }],
    summary: summaryOf(minutes => {
      const [failed, all] = [total(minutes, ({ errors }) => errors), total(minutes, ({ requests }) => requests)]
      return `${count(failed)} of ${count(all)} requests failed${failed > 0 ? ` (${percent(failed / all)})` : ''}.`
    }),
  }
}

function share({ minutes }: Bucket, source: string): number | null {
  const results = countResults(minutes)
  return results === 0 ? null : countResults(minutes, [source]) / results
}

function countResults(minutes: readonly Minute[], sources: readonly string[] = SOURCES.map(({ source }) => source)) {
  return total(minutes, ({ answers }) => sources.reduce((sum, source) => sum + (answers[source] ?? 0), 0))
}

function summaryOf(describe: (minutes: readonly Minute[]) => string): ChartSpec['summary'] {
  return (_columns, buckets) => {
    const minutes = buckets.flatMap(bucket => bucket.minutes)
    return minutes.length === 0 ? NO_DATA : describe(minutes)
  }
}
