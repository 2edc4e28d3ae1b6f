import { hexValue } from './image-source.js'

const BACKSLASH = 0x5c
const UNICODE = 0x75
const NO_CHARACTER = 0xff
/** Escapes of one character (RFC 8259 §7), by that character. */
const ESCAPES: ReadonlyMap<number | undefined, number> = new Map(
  Object.entries({ '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }).map(
    ([written, meant]) => [written.charCodeAt(0), meant.charCodeAt(0)],
  ),
)

/**
 * Replaces the escapes of a JSON string within its buffer, given between its quotes. Returns
 * undefined where the string is not valid. An escape beyond ASCII, which no image text has, becomes
 * a byte that is no character.
 */
export function unescapeJson(text: Buffer): Buffer | undefined {
  if ([0x09, 0x0a, 0x0d].some(control => text.includes(control))) return undefined
  const first = text.indexOf(BACKSLASH)
  if (first < 0) return text
  let length = first
  for (let index = first; index < text.length; index++) {
    let byte = text[index] as number
    if (byte === BACKSLASH) {
      const isUnicode = text[index + 1] === UNICODE
      const meant = isUnicode ? unicodeAt(text, index + 2) : ESCAPES.get(text[index + 1])
      if (meant === undefined || Number.isNaN(meant)) return undefined
      byte = Math.min(meant, NO_CHARACTER)
      index += isUnicode ? 5 : 1
    }
    text[length++] = byte
  }
  return text.subarray(0, length)
}

/** Returns the value of four hex digits, or NaN. */
function unicodeAt(text: Buffer, start: number): number {
  let value = 0
  for (let index = start; index < start + 4; index++) value = 16 * value + hexValue(text[index])
  return value
}
