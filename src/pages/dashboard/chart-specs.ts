import { type Bucket, largest, latest, middle, perHour, sum } from './buckets.js'
import { count, credits, milliseconds, percent, steadyCredits } from './format.js'
import type { Minute } from './history.js'

export type Column = (number | null)[]

export interface Line {
  label: string
  /** A custom property of the style sheet. */
  colour: string
  how: 'line' | 'area' | 'step' | 'dashed'
  of(bucket: Bucket): number | null
}

export interface ChartSpec {
  id: string
  title: string
  /** What the figures are, in a few words. */
  unit: string
  lines: readonly Line[]
  /** Lines are shares that stand on each other, up to 1. */
  isStacked?: boolean
  /** Nothing between whole numbers. */
  isCount?: boolean
  show(value: number): string
  /** For values that stand under each other; as `show` where absent. */
  showExactly?(value: number): string
  /** What there is to see, in a sentence. */
  summary(columns: readonly Column[], buckets: readonly Bucket[]): string
}

const NOTHING = 'Nothing is known of this time.'

/** The charts of the page, in their order. `reserve` is a line in the balance where there is one. */
export function chartSpecs(reserve: number): ChartSpec[] {
  return [balance(reserve), spending(), outcome(), latency(), load(), errors()]
}

function balance(reserve: number): ChartSpec {
  const line: Line = {
    ...{ label: 'Balance', colour: '--series-1', how: 'area' },
    of: ({ gauges }) => latest(gauges.map(gauge => gauge.balance)),
  }
  const kept: Line = { label: 'Reserve', colour: '--series-3', how: 'dashed', of: () => reserve }
  return {
    ...{ id: 'balance', title: 'Balance', unit: 'credits', show: credits, showExactly: steadyCredits },
    lines: reserve > 0 ? [line, kept] : [line],
    summary([values = []]) {
      const known = values.filter(value => value !== null)
      if (known.length === 0) return NOTHING
      const [low, high] = [Math.min(...known), Math.max(...known)]
      return `From ${credits(known[0])} to ${credits(known.at(-1))} credits; lowest ${credits(low)}, highest ${credits(high)}.`
    },
  }
}

function spending(): ChartSpec {
  return {
    ...{
      id: 'spending',
      title: 'Spent and saved',
      unit: 'credits per hour',
      show: credits,
      showExactly: steadyCredits,
    },
    lines: [
      { label: 'Spent', colour: '--series-1', how: 'step', of: bucket => perHour(bucket, minute => minute.spent) },
      { label: 'Saved', colour: '--series-2', how: 'step', of: bucket => perHour(bucket, minute => minute.saved) },
    ],
    summary: (_columns, buckets) =>
      summed(buckets, minutes => {
        const [spent, saved] = [total(minutes, minute => minute.spent), total(minutes, minute => minute.saved)]
        return `${credits(spent)} credits spent; ${credits(saved)} saved by the cache and by shared purchases.`
      }),
  }
}

/** Where answers come from, the cheapest first. */
const ORIGINS = [
  { how: 'hit', label: 'Cache', colour: '--series-2' },
  { how: 'coalesced', label: 'Shared purchase', colour: '--series-5' },
  { how: 'stale', label: 'Stale', colour: '--series-3' },
  { how: 'miss', label: 'Bought', colour: '--series-1' },
  { how: 'bypass', label: 'Bought on demand', colour: '--series-6' },
] as const
const FREE = ['hit', 'coalesced', 'stale']

function outcome(): ChartSpec {
  return {
    ...{ id: 'outcome', title: 'Where answers came from', unit: 'share of answers', show: percent, isStacked: true },
    lines: ORIGINS.map(({ how, label, colour }) => ({ label, colour, how: 'area', of: bucket => share(bucket, how) })),
    summary: (_columns, buckets) =>
      summed(buckets, minutes => {
        const all = total(minutes, ({ answers }) => answered(answers))
        const free = total(minutes, ({ answers }) => FREE.reduce((sum, how) => sum + (answers[how] ?? 0), 0))
        if (all === 0) return 'No pictures were asked for.'
        return `${percent(free / all)} of ${count(all)} answers cost nothing.`
      }),
  }
}

function latency(): ChartSpec {
  return {
    ...{ id: 'latency', title: 'How long answers took', unit: 'worst minute of each step', show: milliseconds },
    lines: [
      {
        ...{ label: 'p95', colour: '--series-3', how: 'line' },
        of: ({ minutes }) => largest(minutes.map(minute => minute.p95Ms)),
      },
      {
        ...{ label: 'p50', colour: '--series-1', how: 'line' },
        of: ({ minutes }) => largest(minutes.map(minute => minute.p50Ms)),
      },
    ],
    summary: (_columns, buckets) =>
      summed(buckets, minutes => {
        const p50 = middle(minutes.map(minute => minute.p50Ms))
        const p95 = largest(minutes.map(minute => minute.p95Ms))
        if (p50 === null || p95 === null) return 'No pictures were answered.'
        return `In the middle minute half came within ${milliseconds(p50)}; in the worst one 95 % within ${milliseconds(p95)}.`
      }),
  }
}

function load(): ChartSpec {
  return {
    ...{
      id: 'load',
      title: 'Queue and calls under way',
      unit: 'the most at once, as seen each minute',
      show: count,
      isCount: true,
    },
    lines: [
      {
        ...{ label: 'Waiting', colour: '--series-3', how: 'step' },
        of: ({ gauges }) => largest(gauges.map(({ queue }) => queue)),
      },
      {
        ...{ label: 'At Segmind', colour: '--series-1', how: 'step' },
        of: ({ gauges }) => largest(gauges.map(({ inFlight }) => inFlight)),
      },
    ],
    summary([waiting = [], flying = []]) {
      const [queue, inFlight] = [largestOf(waiting), largestOf(flying)]
      if (queue === null || inFlight === null) return NOTHING
      return `At most ${count(queue)} waiting and ${count(inFlight)} at Segmind.`
    },
  }
}

function errors(): ChartSpec {
  return {
    ...{
      id: 'errors',
      title: 'Errors',
      unit: 'requests that ended with an error, in each step',
      show: count,
      isCount: true,
    },
    lines: [{ label: 'Errors', colour: '--series-4', how: 'step', of: bucket => sum(bucket, minute => minute.errors) }],
    summary: (_columns, buckets) =>
      summed(buckets, minutes => {
        const [failed, all] = [total(minutes, ({ errors }) => errors), total(minutes, ({ requests }) => requests)]
        return `${count(failed)} of ${count(all)} requests${failed > 0 ? `, ${percent(failed / all)}` : ''}.`
      }),
  }
}

function share({ minutes }: Bucket, how: string): number | null {
  const all = total(minutes, ({ answers }) => answered(answers))
  return all === 0 ? null : total(minutes, ({ answers }) => answers[how] ?? 0) / all
}

function answered(answers: Readonly<Record<string, number>>): number {
  return ORIGINS.reduce((sum, { how }) => sum + (answers[how] ?? 0), 0)
}

function summed(buckets: readonly Bucket[], say: (minutes: readonly Minute[]) => string): string {
  const minutes = buckets.flatMap(bucket => bucket.minutes)
  return minutes.length === 0 ? NOTHING : say(minutes)
}

function total(minutes: readonly Minute[], figure: (minute: Minute) => number): number {
  return minutes.reduce((sum, minute) => sum + figure(minute), 0)
}

function largestOf(column: Column): number | null {
  return largest(column.map(value => value ?? undefined))
}
