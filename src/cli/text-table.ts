/** Rows as aligned columns, two spaces apart; the first row is the heading. Columns named in `right` are aligned to the right. */
export function textTable(rows: readonly (readonly string[])[], right: ReadonlySet<number> = new Set()): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map(row => row[column]?.length ?? 0)))
  return rows.map(row => {
    const cells = widths.map((width, column) => {
      const text = row[column] ?? ''
      return right.has(column) ? text.padStart(width) : text.padEnd(width)
    })
    return cells.join('  ').trimEnd()
  })
}
