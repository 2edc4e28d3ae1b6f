import { button, type Child, el } from '../../dom.js'
import { keepFocus } from './live-update.js'

export interface DataColumn<T> {
  title: string
  cell(item: T): Child
  isNumber?: boolean
  /** The cell is the row's heading. */
  isHeading?: boolean
  /** Makes the column sortable by this value. */
  sortBy?(item: T): number | string
}

export interface DataTableOptions<T> {
  label: string
  columns: readonly DataColumn<T>[]
  key(item: T): string
  /** Shown if there are no rows. */
  empty: string
}

/** A sortable table. Roles are explicit because phones show the rows as cards. */
export class DataTable<T> {
  readonly #options: DataTableOptions<T>
  readonly #body = el('tbody', { role: 'rowgroup' })
  readonly #headings: HTMLTableCellElement[]
  readonly #empty: HTMLElement
  readonly #table: HTMLTableElement
  #items: readonly T[] = []
  #sort: { column: DataColumn<T>; isDescending: boolean } | undefined

  constructor(host: HTMLElement, options: DataTableOptions<T>) {
    const { columns, label, empty } = options
    this.#options = options
    this.#headings = columns.map(column => this.#heading(column))
    this.#table = el(
      'table',
      { role: 'table', class: columns.some(({ sortBy }) => sortBy) ? 'sortable' : '' },
      el('caption.unseen', label),
      el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, ...this.#headings)),
      this.#body,
    )
    this.#empty = el('p.quiet', empty)
    host.replaceChildren(this.#table, this.#empty)
    this.show([])
  }

  show(items: readonly T[]): void {
    this.#items = items
    this.#table.hidden = items.length === 0
    this.#empty.hidden = items.length > 0
    const before = new Map(Array.from(this.#body.rows, row => [row.dataset.key, row]))
    const rows = this.#sorted().map(item => {
      const row = this.#row(item)
      const previous = before.get(row.dataset.key)
      return previous?.isEqualNode(row) ? previous : row
    })
    if (rows.length === this.#body.rows.length && rows.every((row, index) => row === this.#body.rows[index])) return
    keepFocus(() => this.#body.replaceChildren(...rows))
  }

  #row(item: T): HTMLTableRowElement {
    const cells = this.#options.columns.map(({ title, cell, isNumber, isHeading }) => {
      const role = isHeading ? { scope: 'row', role: 'rowheader' } : { role: 'cell' }
      const attributes = { 'data-label': title, class: isNumber ? 'number' : '', ...role }
      return el(isHeading ? 'th' : 'td', attributes, cell(item))
    })
    return el('tr', { role: 'row', 'data-key': this.#options.key(item) }, ...cells)
  }

  #heading(column: DataColumn<T>): HTMLTableCellElement {
    const { title, isNumber, sortBy } = column
    const content = sortBy ? button(title, { class: 'sort' }, () => this.#sortBy(column)) : title
    return el('th', { scope: 'col', role: 'columnheader', class: isNumber ? 'number' : '' }, content)
  }

  /** Sorts numbers descending and names ascending; the same column again reverses the order. */
  #sortBy(column: DataColumn<T>): void {
    const isSame = this.#sort?.column === column
    const isDescending = isSame ? !this.#sort?.isDescending : column.isNumber === true
    this.#sort = { column, isDescending }
    for (const [index, heading] of this.#headings.entries()) {
      if (this.#options.columns[index] === column) heading.ariaSort = isDescending ? 'descending' : 'ascending'
      else heading.removeAttribute('aria-sort')
    }
    this.show(this.#items)
  }

  #sorted(): T[] {
    const { column, isDescending } = this.#sort ?? {}
    const value = column?.sortBy
    if (!value) return [...this.#items]
    const ascending = [...this.#items].sort((one, other) => compare(value(one), value(other)))
    return isDescending ? ascending.reverse() : ascending
  }
}

function compare(one: number | string, other: number | string): number {
  if (typeof one === 'number' && typeof other === 'number') return one - other
  return String(one).localeCompare(String(other))
}
