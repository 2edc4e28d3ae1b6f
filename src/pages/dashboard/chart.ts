import UPlot from '../vendor/uplot.js'
import { alone, type ChartData, ceiling, closed, knownPlaces, lastKnown, stacked } from './chart-data.js'
import type { ChartSpec, Line } from './chart-specs.js'
import { el, fill, setText } from './element.js'
import { moment, UNKNOWN } from './format.js'

const HEIGHT = 180
const TIMES_OF_DAY = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const
const DAYS = { weekday: 'short', ...TIMES_OF_DAY } as const
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000, 1_000_000]
const DAY_SECONDS = 86_400

/** One chart: what there is to see in a sentence, the lines, and the same as a table. */
export class Chart {
  readonly #spec: ChartSpec
  readonly #plotHost: HTMLElement
  readonly #summary = el('p', { class: 'summary' })
  readonly #values: HTMLElement[]
  readonly #table = el('div', { class: 'chart-table' })
  readonly #details: HTMLDetailsElement
  #plot: UPlot | undefined
  #data: ChartData = { times: [], columns: [], summary: '', until: 0 }

  constructor(host: HTMLElement, spec: ChartSpec) {
    this.#spec = spec
    this.#values = spec.lines.map(() => el('span', { class: 'value' }))
    this.#plotHost = el('div', { class: 'plot', role: 'img', 'aria-label': `Chart: ${spec.title}` })
    this.#details = el('details', {}, el('summary', {}, 'As a table'), this.#table)
    const title = el('h3', {}, `${spec.title} `, el('span', { class: 'quiet' }, spec.unit))
    const caption = el('figcaption', {}, title, this.#summary)
    host.append(el('figure', { class: 'chart' }, caption, this.#legend(), this.#plotHost, this.#details))
    this.#details.addEventListener('toggle', () => this.#tabulate())
    new ResizeObserver(() => this.#resize()).observe(this.#plotHost)
  }

  show(data: ChartData): void {
    this.#data = data
    setText(this.#summary, data.summary)
    this.#plotHost.setAttribute('aria-label', `Chart: ${this.#spec.title}. ${data.summary}`)
    if (this.#plot) this.#plot.setData(this.#plotted())
    else this.redraw()
    this.#read(null)
    this.#tabulate()
  }

  /** Draws it anew, with the colours that hold by now. */
  redraw(): void {
    this.#plot?.destroy()
    this.#plot = new UPlot(this.#options(), this.#plotted(), this.#plotHost)
  }

  #resize(): void {
    const width = this.#plotHost.clientWidth
    if (width > 0 && this.#plot?.width !== width) this.#plot?.setSize({ width, height: HEIGHT })
  }

  /** Of stacked lines the highest is drawn first, so that the lower ones cover it. */
  #plotted(): UPlot.AlignedData {
    const { times, columns } = closed(this.#data)
    return [times, ...(this.#spec.isStacked ? stacked(columns).reverse() : columns)]
  }

  #options(): UPlot.Options {
    const { lines, isStacked = false, isCount = false } = this.#spec
    const colourOf = colours(this.#plotHost)
    const axis = {
      stroke: colourOf('var(--quiet)'),
      grid: { stroke: colourOf('var(--grid)'), width: 1 },
      ticks: { show: false },
    }
    const font = '12px system-ui, sans-serif'
    return {
      ...{ width: Math.max(200, this.#plotHost.clientWidth), height: HEIGHT },
      ...{ legend: { show: false }, padding: [8, 8, 0, 0] },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: 'operations' }, points: { size: 7 } },
      scales: { x: { time: true }, y: { range: () => [0, ceiling(this.#data.columns, isStacked)] } },
      axes: [
        {
          ...{ ...axis, font, space: 70, size: 28 },
          values: (_, splits) => splits.map((at, index) => timeOf(at, splits[index - 1], splits)),
        },
        {
          ...{ ...axis, font, space: 36, size: 64, ...(isCount && { incrs: WHOLE }) },
          values: (_, splits) => splits.map(value => this.#spec.show(value)),
        },
      ],
      series: [{}, ...(isStacked ? [...lines].reverse() : lines).map(line => drawn(line, colourOf, isStacked))],
      hooks: { setCursor: [plot => this.#read(plot.cursor.idx ?? null)] },
    }
  }

  #legend(): HTMLElement {
    const items = this.#spec.lines.map(({ label, colour, how }, index) => {
      const swatch = el('span', { class: `swatch ${how}`, 'aria-hidden': 'true' })
      swatch.style.setProperty('--colour', tone(colour, this.#spec.isStacked))
      return el('li', {}, swatch, `${label} `, this.#values[index] ?? '')
    })
    return el('ul', { class: 'legend' }, ...items)
  }

  /** The values under the cursor, else the latest known. */
  #read(place: number | null): void {
    const { columns } = this.#data
    const index = place === null ? lastKnown(columns) : Math.min(place, this.#data.times.length - 1)
    for (const [line, value] of this.#values.entries()) {
      const known = index === undefined ? null : (columns[line]?.[index] ?? null)
      setText(value, this.#told(known))
    }
  }

  #told(value: number | null): string {
    if (value === null) return UNKNOWN
    return this.#spec.showExactly?.(value) ?? this.#spec.show(value)
  }

  /** Only while somebody looks at it. */
  #tabulate(): void {
    if (!this.#details.open) return
    const { times, columns } = this.#data
    const head = ['Time', ...this.#spec.lines.map(({ label }) => label)].map(title => el('th', { scope: 'col' }, title))
    const rows = knownPlaces(columns).map(place => {
      const values = columns.map(column => column[place] ?? null)
      const cells = values.map(value => el('td', {}, this.#told(value)))
      return el('tr', {}, el('th', { scope: 'row' }, moment((times[place] ?? 0) * 1_000)), ...cells)
    })
    const caption = el('caption', { class: 'unseen' }, `${this.#spec.title}, ${this.#spec.unit}`)
    const table = el('table', {}, caption, el('thead', {}, el('tr', {}, ...head)), el('tbody', {}, ...rows))
    fill(
      this.#table,
      el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': this.#spec.title }, table),
    )
  }
}

function drawn({ label, colour, how }: Line, colourOf: (colour: string) => string, isStacked: boolean): UPlot.Series {
  const stroke = colourOf(tone(colour, isStacked))
  const steps = UPlot.paths.stepped?.({ align: 1 })
  return {
    ...{ label, stroke, width: isStacked ? 0 : how === 'dashed' ? 1.5 : 2, spanGaps: false },
    ...(isStacked && { fill: stroke }),
    ...(!isStacked && (how === 'area' || how === 'step') && { fill: faded(stroke) }),
    ...(how === 'dashed' && { dash: [5, 5] }),
    ...(steps && (how === 'step' || isStacked) && { paths: steps }),
    points: {
      ...{ show: true, size: 5, fill: stroke, stroke },
      filter: (plot, series) => (how === 'dashed' ? [] : alone(plot.data[series] as (number | null)[])),
    },
  }
}

/** Colours of the style sheet as a canvas understands them: light or dark, as it is now. */
function colours(host: HTMLElement): (colour: string) => string {
  return colour => {
    const probe = el('span', { hidden: true })
    probe.style.color = colour
    host.append(probe)
    const { color } = getComputedStyle(probe)
    probe.remove()
    return color
  }
}

/** Whole areas of it are calmer. */
function tone(colour: string, isStacked = false): string {
  return isStacked ? `color-mix(in srgb, var(${colour}) 72%, var(--panel))` : `var(${colour})`
}

function faded(colour: string): string {
  return colour.replace(/^rgba?\(([^,]+),([^,]+),([^,)]+).*$/, 'rgba($1,$2,$3,0.14)')
}

/** With the day, where another one begins or the axis does. */
function timeOf(at: number, before: number | undefined, splits: readonly number[]): string {
  const isLong = (splits.at(-1) ?? 0) - (splits[0] ?? 0) > DAY_SECONDS * 0.7
  const isNewDay = before === undefined || new Date(at * 1_000).getDate() !== new Date(before * 1_000).getDate()
  const parts = isLong && isNewDay ? DAYS : TIMES_OF_DAY
  return new Intl.DateTimeFormat('en-GB', parts).format(at * 1_000).replace(',', '')
}
