/**
 * Renders rows as aligned columns, two spaces apart. The first row is the heading. Columns in
 * `right` are right-aligned.
 */
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
