import { GatewayError } from '../contracts/errors.js'

const QUOTE = 0x22
const COMMA = 0x2c
const BACKSLASH = 0x5c
const COLON = 0x3a
const OPENING_BRACE = 0x7b
const CLOSING_BRACE = 0x7d
const OPENING_BRACKET = 0x5b
const CLOSING_BRACKET = 0x5d

const MAX_MEMBERS = 32

/** Offsets of a string, between its quotes. */
interface Text {
  start: number
  end: number
}

/** An outermost member of a JSON body. */
export interface Member {
  /** As written: in quotes, with escapes. */
  name: string
  /** The value, if it is a string. */
  text?: Text
}

const MAX_NAME_BYTES = 1024

/**
 * Scans a JSON body before it is parsed: a great number of small values costs the parser seconds
 * and many times their size. Skips strings, so that a large one costs little. Returns the outermost
 * members, which have no meaning for invalid JSON. Throws `invalid_request`.
 */
export function scanMembers(
  json: Buffer,
  { maxDepth, maxTokens }: { maxDepth: number; maxTokens: number },
): readonly Member[] {
  const members: Member[] = []
  let depth = 0
  /** The last string of the outermost object, and the member whose value may follow. */
  let last: Text | undefined
  let open: Member | undefined
  let tokens = 0
  for (let at = 0; at < json.length; at++) {
    const character = json[at] as number
    if (!isToken(character)) continue
    if (++tokens > maxTokens) throw tooMuch(`more than ${maxTokens} values and separators`)
    if (character === QUOTE) {
      const text = { start: at + 1, end: endOfString(json, at) }
      at = text.end
      last = depth === 1 ? text : undefined
      if (open) open.text = text
      open = undefined
    } else if (character === COLON) {
      open = last && addMember(members, json, last)
      last = undefined
    } else {
      open = undefined
      depth = depthAfter(character, depth)
      if (depth > maxDepth) throw tooMuch(`more than ${maxDepth} levels of lists and objects`)
    }
  }
  return members
}

function addMember(members: Member[], json: Buffer, { start, end }: Text): Member {
  if (members.length >= MAX_MEMBERS) throw tooMuch(`more than ${MAX_MEMBERS} members`)
  if (end - start > MAX_NAME_BYTES) throw tooMuch(`a name of more than ${MAX_NAME_BYTES} bytes`)
  const member = { name: json.toString('utf8', start - 1, end + 1) }
  members.push(member)
  return member
}

/**
 * Returns the names that occur more than once; `JSON.parse` hides them and keeps the last value.
 * `members` of valid JSON.
 */
export function repeatedMembers(members: readonly Member[]): Set<string> {
  const seen = new Set<string>()
  const repeated = new Set<string>()
  for (const { name: written } of members) {
    const name = JSON.parse(written) as string
    if (seen.has(name)) repeated.add(name)
    seen.add(name)
  }
  return repeated
}

function isToken(character: number): boolean {
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

/**
 * Finds the quote that ends the string beginning at `start`: the first after an even number of
 * backslashes.
 */
function endOfString(json: Buffer, start: number): number {
  for (let end = json.indexOf(QUOTE, start + 1); end >= 0; end = json.indexOf(QUOTE, end + 1)) {
    let backslashes = 0
    while (json[end - 1 - backslashes] === BACKSLASH) backslashes++
    if (backslashes % 2 === 0) return end
  }
  return json.length
}

function tooMuch(what: string): GatewayError {
  return new GatewayError('invalid_request', `The JSON body has ${what}, which no valid request needs.`)
}
