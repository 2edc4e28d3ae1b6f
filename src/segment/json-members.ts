import { GatewayError } from '../errors.js'

const QUOTE = 0x22
const COMMA = 0x2c
const BACKSLASH = 0x5c
const COLON = 0x3a
const OPENING_BRACE = 0x7b
const CLOSING_BRACE = 0x7d
const OPENING_BRACKET = 0x5b
const CLOSING_BRACKET = 0x5d

const MAX_MEMBERS = 32

/**
 * Looks over the text of a JSON body before it is parsed, since small values in great number cost the parser seconds and many times their
 * size. Strings are jumped over, so that a large one costs little. Answers the names of the outermost object's members as they are
 * written, in quotes and with their escapes; for a text that is no valid JSON they mean nothing. Throws `invalid_request`.
 */
export function scanMembers(text: string, { maxDepth, maxMarks }: { maxDepth: number; maxMarks: number }): string[] {
  const names: string[] = []
  let depth = 0
  let marks = 0
  let last: string | undefined
  for (let at = 0; at < text.length; at++) {
    const character = text.charCodeAt(at)
    if (!isMark(character)) continue
    if (++marks > maxMarks) throw tooMuch(`more than ${maxMarks} values and separators`)
    if (character === QUOTE) {
      const end = endOfString(text, at)
      if (depth === 1) last = text.slice(at, end + 1)
      at = end
    } else if (character === COLON) {
      if (last !== undefined && names.push(last) > MAX_MEMBERS) throw tooMuch(`more than ${MAX_MEMBERS} members`)
      last = undefined
    } else depth = depthAfter(character, depth)
    if (depth > maxDepth) throw tooMuch(`more than ${maxDepth} levels of lists and objects`)
  }
  return names
}

/** The names that occur more than once, which `JSON.parse` hides by keeping the last; `names` as they are written in valid JSON. */
export function repeatedMembers(names: readonly string[]): Set<string> {
  const seen = new Set<string>()
  const repeated = new Set<string>()
  for (const written of names) {
    const name = JSON.parse(written) as string
    if (seen.has(name)) repeated.add(name)
    seen.add(name)
  }
  return repeated
}

function isMark(character: number): boolean {
  switch (character) {
    case QUOTE:
    case COMMA:
    case COLON:
    case OPENING_BRACE:
    case CLOSING_BRACE:
    case OPENING_BRACKET:
    case CLOSING_BRACKET:
      return true
    default:
      return false
  }
}

function depthAfter(character: number, depth: number): number {
  if (character === OPENING_BRACE || character === OPENING_BRACKET) return depth + 1
  return character === COMMA ? depth : depth - 1
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

function tooMuch(what: string): GatewayError {
  return new GatewayError('invalid_request', `The JSON body has ${what}: no request needs as many.`)
}
