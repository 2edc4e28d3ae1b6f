const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const OPENING_BRACE = 0x7b
const CLOSING_BRACE = 0x7d
const OPENING_BRACKET = 0x5b
const CLOSING_BRACKET = 0x5d

/**
 * Finds the names that occur more than once among the members of a JSON object, which `JSON.parse` hides by keeping the last.
 * `text` must be known to be valid JSON. Strings are jumped over, so a large one costs little.
 */
export function repeatedMembers(text: string): Set<string> {
  const seen = new Set<string>()
  const repeated = new Set<string>()
  for (const name of memberNames(text)) {
    if (seen.has(name)) repeated.add(name)
    seen.add(name)
  }
  return repeated
}

function* memberNames(text: string): Generator<string> {
  let depth = 0
  let last: string | undefined
  for (let at = 0; at < text.length; at++) {
    const character = text.charCodeAt(at)
    if (character === QUOTE) {
      const end = endOfString(text, at)
      if (depth === 1) last = text.slice(at, end + 1)
      at = end
    } else if (character === COLON) {
      if (last !== undefined) yield JSON.parse(last) as string
      last = undefined
    } else if (character === OPENING_BRACE || character === OPENING_BRACKET) depth++
    else if (character === CLOSING_BRACE || character === CLOSING_BRACKET) depth--
  }
}

/** The place of the quote that ends the string beginning at `start`: the first one after an even number of backslashes. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let backslashes = 0
    while (text.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes++
    if (backslashes % 2 === 0) return at
  }
  return text.length
}
