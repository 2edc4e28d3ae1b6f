import type { Api } from './api.js'
import type { Overview, ToldMinute } from './api-types.js'
import { bucketsOf, RANGES, type Range } from './buckets.js'
import { Chart } from './chart.js'
import { chartData } from './chart-data.js'
import { type ChartSpec, chartSpecs } from './chart-specs.js'
import { problemShown } from './dialogs.js'
import { byId, el, setText } from './element.js'
import { clock } from './format.js'
import { type Gauges, gaugesNow, hoursToAsk, type Minute, merged, readMinutes, withGauges } from './history.js'

const MINUTE_MS = 60_000
const DEFAULT_HOURS = 6

/** The charts, over a span that is chosen. The history is fetched when more of it is looked at, and its latest part once a minute. */
export class ChartsPanel {
  readonly #api: Api
  readonly #now: () => number
  #minutes: Minute[] = []
  #samples: Gauges[] = []
  #asked: { hours: number; askedAt: number } | undefined
  #isAsking = false
  #range: Range = RANGES.find(({ hours }) => hours === DEFAULT_HOURS) ?? { hours: DEFAULT_HOURS, stepMinutes: 5 }
  #charts: { spec: ChartSpec; chart: Chart }[] = []
  #reserve: number | undefined
  #drawn = ''

  constructor(api: Api, now: () => number) {
    this.#api = api
    this.#now = now
    byId('ranges').replaceChildren(...RANGES.map(range => this.#choice(range)))
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      for (const { chart } of this.#charts) chart.redraw()
    })
  }

  show(overview: Overview): void {
    this.#samples = withGauges(this.#samples, gaugesNow(overview), this.#minutes)
    this.#setUp(overview.credits.reserveCredits)
    void this.refresh()
    this.#draw()
  }

  /** Fetches what is not known yet, no more than once a minute. */
  async refresh(): Promise<void> {
    const now = this.#now()
    const isKnown = this.#asked && this.#asked.hours >= this.#range.hours
    if (this.#isAsking || (isKnown && now - (this.#asked?.askedAt ?? 0) < MINUTE_MS)) return
    this.#isAsking = true
    const { hours } = this.#range
    try {
      const path = `/history?hours=${hoursToAsk(hours, this.#asked, now)}`
      const { minutes } = await this.#api.get<{ minutes: ToldMinute[] }>(path)
      this.#minutes = merged(this.#minutes, readMinutes(minutes), now)
      this.#asked = { hours: Math.max(hours, this.#asked?.hours ?? 0), askedAt: now }
      byId('history-problem').replaceChildren()
    } catch (error) {
      byId('history-problem').replaceChildren(...problemShown(error))
    } finally {
      this.#isAsking = false
    }
    this.#draw()
    if (hours < this.#range.hours) void this.refresh()
  }

  /** A line for the reserve comes and goes with its setting. */
  #setUp(reserve: number): void {
    if (this.#reserve === reserve) return
    this.#reserve = reserve
    this.#drawn = ''
    const host = byId('charts')
    host.replaceChildren()
    this.#charts = chartSpecs(reserve).map(spec => ({ spec, chart: new Chart(host, spec) }))
  }

  #draw(): void {
    const buckets = bucketsOf(this.#minutes, this.#samples, this.#range, this.#now())
    const last = this.#minutes.at(-1)
    const state = JSON.stringify(
      [this.#range, buckets.at(-1)?.at, last, this.#minutes.length, this.#samples.at(-1)].map(withoutTime),
    )
    if (state === this.#drawn) return
    this.#drawn = state
    for (const { spec, chart } of this.#charts) chart.show(chartData(spec, buckets, this.#now()))
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone
    const until = last ? `Minutes up to ${clock(last.at + MINUTE_MS).slice(0, 5)} are in.` : 'No minute is in yet.'
    setText('history-note', `${until} Times in ${zone}. Where nothing is known there is a gap.`)
  }

  #choice(range: Range): HTMLElement {
    const input = el('input', { type: 'radio', name: 'range', value: range.hours })
    input.checked = range.hours === this.#range.hours
    input.addEventListener('change', () => {
      this.#range = range
      this.#draw()
      void this.refresh()
    })
    return el('label', {}, input, el('span', {}, `${range.hours} h`))
  }
}

/** What is the same but for the moment it was heard is the same. */
function withoutTime(part: unknown): unknown {
  return typeof part === 'object' && part !== null && !('requests' in part) ? { ...part, at: 0 } : part
}
