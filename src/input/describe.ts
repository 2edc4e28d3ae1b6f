/**
 * Matches a text that lost characters on its way. U+FFFD stands for bytes that were not UTF-8.
 * Half a surrogate pair becomes U+FFFD when the text is written as UTF-8. Different texts would
 * become one, and share one cached result.
 */
export const BROKEN_TEXT = /[\ufffd\p{Surrogate}]/u

const MAX_CHARACTERS = 60
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu

/** Describes a caller's value for an error message: printable, one line, at most 60 characters. */
export function describeValue(value: unknown): string {
  return shorten(sketch(value, 2))
}

/** Describes the kind of a JSON value that must not be quoted, because it may be an image. */
export function describeKind(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/** Quotes a name that a caller chose, within the same limits. */
export function describeName(name: string | undefined): string {
  return name === undefined || name === '' ? '(without a name)' : describeValue(name)
}

/** Lists at most five names that a caller chose. */
export function describeNames(names: Iterable<string | undefined>): string {
  const all = [...names]
  const shown = all.slice(0, 5).map(describeName).join(', ')
  return all.length > 5 ? `${shown} and ${all.length - 5} more` : shown
}

/** Reads only the beginning of a value, which may be as large and as deep as a request body. */
function sketch(value: unknown, depth: number): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, MAX_CHARACTERS + 1))
  if (!Array.isArray(value)) return typeof value === 'object' && value !== null ? 'an object' : String(value)
  if (depth === 0) return '[…]'
  const items = value.slice(0, 4).map(item => sketch(item, depth - 1))
  return `[${items.join(',')}${value.length > 4 ? ',…' : ''}]`
}

function shorten(text: string): string {
  const printable = text.replace(UNPRINTABLE, '\u{fffd}')
  if (printable.length <= MAX_CHARACTERS) return printable
  return `${printable.slice(0, MAX_CHARACTERS - 1).replace(/\p{Cs}$/u, '')}…`
}
