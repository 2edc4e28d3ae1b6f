import { button, type Child, el, keepingFocus } from './element.js'

export interface ColumnOf<T> {
  title: string
  cell(item: T): Child
  isNumber?: boolean
  /** Names the row. */
  isHeading?: boolean
  /** What rows are sorted by where it may be chosen. */
  sortBy?(item: T): number | string
}

export interface TableParts<T> {
  label: string
  columns: readonly ColumnOf<T>[]
  key(item: T): string
  /** Said where there are no rows. */
  empty: string
}

/** A table of which only the rows that have changed are drawn anew. Roles are said outright: on a phone it is laid out as cards. */
export class DataTable<T> {
  readonly #parts: TableParts<T>
  readonly #body = el('tbody', { role: 'rowgroup' })
  readonly #headings: HTMLTableCellElement[]
  readonly #empty: HTMLElement
  readonly #table: HTMLTableElement
  #items: readonly T[] = []
  #sorted: { column: ColumnOf<T>; isDescending: boolean } | undefined

  constructor(host: HTMLElement, parts: TableParts<T>) {
    this.#parts = parts
    this.#headings = parts.columns.map(column => this.#heading(column))
    const isSortable = parts.columns.some(({ sortBy }) => sortBy)
    const head = el('tr', { role: 'row' }, ...this.#headings)
    this.#table = el(
      'table',
      { role: 'table', class: isSortable ? 'sortable' : '' },
      el('caption', { class: 'unseen' }, parts.label),
      el('thead', { role: 'rowgroup' }, head),
      this.#body,
    )
    this.#empty = el('p', { class: 'quiet' }, parts.empty)
    host.replaceChildren(this.#table, this.#empty)
    this.show([])
  }

  show(items: readonly T[]): void {
    this.#items = items
    this.#table.hidden = items.length === 0
    this.#empty.hidden = items.length > 0
    const before = new Map(Array.from(this.#body.rows, row => [row.dataset.key, row]))
    const rows = this.#inOrder().map(item => {
      const row = this.#row(item)
      const known = before.get(row.dataset.key)
      return known?.isEqualNode(row) ? known : row
    })
    if (rows.length === this.#body.rows.length && rows.every((row, index) => row === this.#body.rows[index])) return
    keepingFocus(() => this.#body.replaceChildren(...rows))
  }

  #row(item: T): HTMLTableRowElement {
    const row = el('tr', { role: 'row', 'data-key': this.#parts.key(item) })
    for (const { title, cell, isNumber, isHeading } of this.#parts.columns) {
      const attributes = { 'data-label': title, class: isNumber ? 'number' : '' }
      row.append(
        isHeading
          ? el('th', { ...attributes, scope: 'row', role: 'rowheader' }, cell(item))
          : el('td', { ...attributes, role: 'cell' }, cell(item)),
      )
    }
    return row
  }

  #heading(column: ColumnOf<T>): HTMLTableCellElement {
    const { title, isNumber, sortBy } = column
    const attributes = { scope: 'col', role: 'columnheader', class: isNumber ? 'number' : '' }
    if (!sortBy) return el('th', attributes, title)
    return el(
      'th',
      attributes,
      button(title, { class: 'sort' }, () => this.#sortBy(column)),
    )
  }

  /** Amounts begin with the largest, names with the first; again turns it round. */
  #sortBy(column: ColumnOf<T>): void {
    const isAgain = this.#sorted?.column === column
    const isDescending = isAgain ? !this.#sorted?.isDescending : column.isNumber === true
    this.#sorted = { column, isDescending }
    for (const [index, heading] of this.#headings.entries()) {
      if (this.#parts.columns[index] === column) {
        heading.setAttribute('aria-sort', isDescending ? 'descending' : 'ascending')
      } else heading.removeAttribute('aria-sort')
    }
    this.show(this.#items)
  }

  #inOrder(): T[] {
    const { column, isDescending } = this.#sorted ?? {}
    const by = column?.sortBy
    if (!by) return [...this.#items]
    const rising = [...this.#items].sort((one, other) => compared(by(one), by(other)))
    return isDescending ? rising.reverse() : rising
  }
}

function compared(one: number | string, other: number | string): number {
  if (typeof one === 'number' && typeof other === 'number') return one - other
  return String(one).localeCompare(String(other))
}
