import { byId, el } from '../../dom.js'
import { timeOfDay } from '../../format.js'
import type { HistoryMinute, Overview } from '../api/api-types.js'
import type { OperatorApi } from '../api/operator-api.js'
import { problemContent } from '../elements/dialogs.js'
import { fill } from '../elements/live-update.js'
import { TIME_RANGES, type TimeRange, toBuckets } from './buckets.js'
import { Chart } from './chart.js'
import { chartData } from './chart-data.js'
import { type ChartSpec, chartSpecs } from './chart-specs.js'
import {
  appendSample,
  currentGauges,
  type Fetched,
  type Gauges,
  hoursToFetch,
  MINUTE_MS,
  type Minute,
  mergeMinutes,
  parseMinutes,
} from './history.js'

const DEFAULT_RANGE = { hours: 6, stepMinutes: 5 }

/** The charts over a selectable range. Fetches missing history at most once a minute. */
export class ChartsPanel {
  readonly #api: OperatorApi
  readonly #now: () => number
  #minutes: Minute[] = []
  #samples: Gauges[] = []
  #fetched: Fetched | undefined
  #isFetching = false
  #range: TimeRange = DEFAULT_RANGE
  #charts: { spec: ChartSpec; chart: Chart }[] = []
  #reserve: number | undefined
  #drawn = ''

  constructor(api: OperatorApi, now: () => number) {
    this.#api = api
    this.#now = now
    byId('ranges').append(...TIME_RANGES.map(range => this.#rangeOption(range)))
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      for (const { chart } of this.#charts) chart.redraw()
    })
  }

  show(overview: Overview): void {
    this.#samples = appendSample(this.#samples, currentGauges(overview), this.#minutes)
    this.#createCharts(overview.credits.reserveCredits)
    void this.refresh()
    this.#draw()
  }

  async refresh(): Promise<void> {
    const now = this.#now()
    const { hours } = this.#range
    const isKnown = this.#fetched && this.#fetched.hours >= hours && now - this.#fetched.at < MINUTE_MS
    if (this.#isFetching || isKnown) return
    this.#isFetching = true
    try {
      const path = `/history?hours=${hoursToFetch(hours, this.#fetched, now)}`
      const { minutes } = await this.#api.get<{ minutes: HistoryMinute[] }>(path)
      this.#minutes = mergeMinutes(this.#minutes, parseMinutes(minutes), now)
      this.#fetched = { hours: Math.max(hours, this.#fetched?.hours ?? 0), at: now }
      fill('history-problem')
    } catch (error) {
      fill('history-problem', ...problemContent(error))
    } finally {
      this.#isFetching = false
    }
    this.#draw()
    if (hours < this.#range.hours) void this.refresh()
  }

  /** Creates the charts, again when the reserve changes: the balance chart shows it as a line. */
  #createCharts(reserve: number): void {
    if (this.#reserve === reserve) return
    this.#reserve = reserve
    this.#drawn = ''
    const host = byId('charts')
    host.replaceChildren()
    this.#charts = chartSpecs(reserve).map(spec => ({ spec, chart: new Chart(host, spec) }))
  }

  /** Draws the charts if anything but the time of the latest sample has changed. */
  #draw(): void {
    const buckets = toBuckets(this.#minutes, this.#samples, this.#range, this.#now())
    const last = this.#minutes.at(-1)
    const sample = { ...this.#samples.at(-1), at: 0 }
    const state = JSON.stringify([this.#range, buckets.at(-1)?.at, last, this.#minutes.length, sample])
    if (state === this.#drawn) return
    this.#drawn = state
    for (const { spec, chart } of this.#charts) chart.show(chartData(spec, buckets, this.#now()))
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone
    const end = last ? `Data up to ${timeOfDay(last.at + MINUTE_MS).slice(0, 5)}.` : 'No complete minute yet.'
    fill('history-note', `${end} Times in ${zone}. Gaps mean missing data.`)
  }

  #rangeOption(range: TimeRange): HTMLElement {
    const isChecked = range.hours === this.#range.hours
    const input = el('input', { type: 'radio', name: 'range', value: range.hours, checked: isChecked })
    input.addEventListener('change', () => {
      this.#range = range
      this.#draw()
      void this.refresh()
    })
    return el('label', input, `${range.hours} h`)
  }
}
