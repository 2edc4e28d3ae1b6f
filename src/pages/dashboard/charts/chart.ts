import { el } from '../../dom.js'
import { dateTime } from '../../format.js'
import UPlot from '../../vendor/uplot.js'
import { fill } from '../elements/live-update.js'
import { type ChartData, extendToEnd, isolatedIndexes, knownIndexes, stack, yMax } from './chart-data.js'
import type { ChartSpec, Column, Line } from './chart-specs.js'

const HEIGHT = 180
const TIME = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const
const DAY_AND_TIME = { weekday: 'short', ...TIME } as const
const WHOLE_STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000, 1_000_000]
const DAY_SECONDS = 86_400

/** A chart with a summary, a legend and the same data as a table. */
export class Chart {
  readonly #spec: ChartSpec
  readonly #plotHost: HTMLElement
  readonly #summary = el('p.summary')
  readonly #values: HTMLElement[]
  readonly #table = el('div.chart-table')
  readonly #details: HTMLDetailsElement
  #plot: UPlot | undefined
  #data: ChartData = { times: [], columns: [], summary: '', end: 0 }

  constructor(host: HTMLElement, spec: ChartSpec) {
    this.#spec = spec
    this.#values = spec.lines.map(() => el('span.value'))
    this.#plotHost = el('div.plot', { role: 'img' })
    this.#details = el('details', el('summary', 'Show as table'), this.#table)
    const caption = el('figcaption', el('h3', `${spec.title} `, el('span.quiet', spec.unit)), this.#summary)
    host.append(el('figure.chart', caption, this.#legend(), this.#plotHost, this.#details))
    this.#details.addEventListener('toggle', () => this.#showTable())
    new ResizeObserver(() => this.#resize()).observe(this.#plotHost)
  }

  show(data: ChartData): void {
    this.#data = data
    fill(this.#summary, data.summary)
    this.#plotHost.ariaLabel = `Chart: ${this.#spec.title}. ${data.summary}`
    if (this.#plot) this.#plot.setData(this.#plotData())
    else this.redraw()
    this.#showValues(null)
    this.#showTable()
  }

  /** Draws the chart from scratch with the current colours. */
  redraw(): void {
    this.#plot?.destroy()
    this.#plot = new UPlot(this.#plotOptions(), this.#plotData(), this.#plotHost)
  }

  #resize(): void {
    const width = this.#plotHost.clientWidth
    if (width > 0 && this.#plot?.width !== width) this.#plot?.setSize({ width, height: HEIGHT })
  }

  /** Stacked lines are drawn from the highest down, so that the lower ones cover it. */
  #plotData(): UPlot.AlignedData {
    const { times, columns } = extendToEnd(this.#data)
    return [times, ...(this.#spec.isStacked ? stack(columns).reverse() : columns)]
  }

  #plotOptions(): UPlot.Options {
    const { lines, isStacked = false, isCount = false, format } = this.#spec
    const resolve = colourResolver(this.#plotHost)
    const axis = {
      font: '12px system-ui, sans-serif',
      stroke: resolve('var(--quiet)'),
      grid: { stroke: resolve('var(--grid)'), width: 1 },
      ticks: { show: false },
    }
    return {
      width: Math.max(200, this.#plotHost.clientWidth),
      height: HEIGHT,
      legend: { show: false },
      padding: [8, 8, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: 'dashboard' }, points: { size: 7 } },
      scales: { x: { time: true }, y: { range: () => [0, yMax(this.#data.columns, isStacked)] } },
      axes: [
        { ...axis, space: 70, size: 28, values: (_, ticks) => ticks.map((_, index) => tickLabel(ticks, index)) },
        {
          ...axis,
          space: 36,
          size: 64,
          ...(isCount && { incrs: WHOLE_STEPS }),
          values: (_, ticks) => ticks.map(value => format(value)),
        },
      ],
      series: [{}, ...(isStacked ? lines.toReversed() : lines).map(line => series(line, resolve, isStacked))],
      hooks: { setCursor: [plot => this.#showValues(plot.cursor.idx ?? null)] },
    }
  }

  #legend(): HTMLElement {
    const items = this.#spec.lines.map(({ label, colour, style }, index) => {
      const swatch = el(`span.swatch.${style}`, { 'aria-hidden': 'true' })
      swatch.style.setProperty('--colour', colourOf(colour, this.#spec.isStacked))
      return el('li', swatch, `${label} `, this.#values[index] ?? '')
    })
    return el('ul.legend', ...items)
  }

  /** Shows the values under the cursor, or else the latest ones. */
  #showValues(cursor: number | null): void {
    const { columns, times } = this.#data
    const index = cursor === null ? knownIndexes(columns)[0] : Math.min(cursor, times.length - 1)
    for (const [line, value] of this.#values.entries()) fill(value, this.#valueText(columns[line], index))
  }

  #valueText(column: Column | undefined, index = -1): string {
    const value = column?.[index] ?? null
    if (value === null) return '–'
    return this.#spec.formatAligned?.(value) ?? this.#spec.format(value)
  }

  /** Fills the table while it is open. */
  #showTable(): void {
    if (!this.#details.open) return
    const { title, unit, lines } = this.#spec
    const { times, columns } = this.#data
    const head = ['Time', ...lines.map(({ label }) => label)].map(text => el('th', { scope: 'col' }, text))
    const rows = knownIndexes(columns).map(index => {
      const time = el('th', { scope: 'row' }, dateTime((times[index] ?? 0) * 1_000))
      return el('tr', time, ...columns.map(column => el('td', this.#valueText(column, index))))
    })
    const caption = el('caption.unseen', `${title}, ${unit}`)
    const table = el('table', caption, el('thead', el('tr', ...head)), el('tbody', ...rows))
    fill(this.#table, el('div.scroll', { tabindex: 0, role: 'region', 'aria-label': title }, table))
  }
}

function series({ label, colour, style }: Line, resolve: (colour: string) => string, isStacked: boolean): UPlot.Series {
  const stroke = resolve(colourOf(colour, isStacked))
  const isFilled = style === 'area' || style === 'step'
  const steps = isStacked || style === 'step' ? UPlot.paths.stepped?.({ align: 1 }) : undefined
  return {
    label,
    stroke,
    width: isStacked ? 0 : style === 'dashed' ? 1.5 : 2,
    spanGaps: false,
    ...(isFilled && { fill: isStacked ? stroke : withAlpha(stroke) }),
    ...(style === 'dashed' && { dash: [5, 5] }),
    ...(steps && { paths: steps }),
    points: {
      show: true,
      size: 5,
      fill: stroke,
      stroke,
      filter: (plot, index) => (style === 'dashed' ? [] : isolatedIndexes(plot.data[index] as Column)),
    },
  }
}

/** Returns a function that resolves style sheet colours for a canvas. */
function colourResolver(host: HTMLElement): (colour: string) => string {
  return colour => {
    const probe = el('span', { hidden: true })
    probe.style.color = colour
    host.append(probe)
    const { color } = getComputedStyle(probe)
    probe.remove()
    return color
  }
}

/** Returns the colour of a line, softened where it fills a stacked area. */
function colourOf(colour: string, isStacked = false): string {
  return isStacked ? `color-mix(in srgb, var(${colour}) 72%, var(--panel))` : `var(${colour})`
}

function withAlpha(colour: string): string {
  return colour.replace(/^rgba?\(([^,]+),([^,]+),([^,)]+).*$/, 'rgba($1,$2,$3,0.14)')
}

/** Labels a tick with its time. On long axes the first tick of each day shows the weekday, too. */
function tickLabel(ticks: readonly number[], index: number): string {
  const dateAt = (index: number) => new Date((ticks[index] ?? Number.NaN) * 1_000)
  const isLong = (ticks.at(-1) ?? 0) - (ticks[0] ?? 0) > DAY_SECONDS * 0.7
  const isNewDay = dateAt(index).getDate() !== dateAt(index - 1).getDate()
  const format = new Intl.DateTimeFormat('en-GB', isLong && isNewDay ? DAY_AND_TIME : TIME)
  return format.format(dateAt(index)).replace(',', '')
}
