const LONGEST_CHARACTERS = 60
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu

/** Says for an error message what a caller's value was: printable, one line, at most 60 characters. */
export function describeValue(value: unknown): string {
  return shorten(sketch(value, 2))
}

/** Says of what kind a JSON value is, where the value itself is not to be repeated: it may be an image. */
export function describeKind(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/** Says a name that a caller chose, in quotes, in the same way. */
export function describeName(name: string | undefined): string {
  return name === undefined || name === '' ? '(without a name)' : describeValue(name)
}

/** Names that a caller chose, at most five of them. */
export function describeNames(names: Iterable<string | undefined>): string {
  const all = [...names]
  const shown = all.slice(0, 5).map(describeName).join(', ')
  return all.length > 5 ? `${shown} and ${all.length - 5} more` : shown
}

/** Never walks a whole value: it may be as large and as deep as a request body. */
function sketch(value: unknown, depth: number): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, LONGEST_CHARACTERS + 1))
  if (!Array.isArray(value)) return typeof value === 'object' && value !== null ? 'an object' : String(value)
  if (depth === 0) return '[…]'
  const items = value.slice(0, 4).map(item => sketch(item, depth - 1))
  return `[${items.join(',')}${value.length > 4 ? ',…' : ''}]`
}

function shorten(text: string): string {
  const printable = text.replace(UNPRINTABLE, '\u{fffd}')
  if (printable.length <= LONGEST_CHARACTERS) return printable
  return `${printable.slice(0, LONGEST_CHARACTERS - 1).replace(/\p{Cs}$/u, '')}…`
}
