import { defined } from '../contracts/defined.js'
import { GatewayError } from '../contracts/errors.js'
import type { Params, Point } from '../contracts/types.js'
import { BROKEN_TEXT, describeValue } from './describe.js'
import type { FieldName, FormFields } from './form.js'
import { type Output, type OutputForm, parseOutputForm } from './output-form.js'

export interface ParsedFields extends OutputForm {
  params: Params
  /** Return `{"image":"<base64>"}`. Affects only the response, not the cache key. */
  base64: boolean
  /** Fields that were sent and have no effect, for `X-Ignored-Fields`. */
  ignoredFields: FieldName[]
}

export interface ParamRules {
  base64Default: boolean
  /** Accept requests that select nothing (`ALLOW_NO_SELECTION`). */
  allowNoSelection?: boolean
}

const MAX_PROMPT_CHARACTERS = 1000

/**
 * Turns the fields of a form into their canonical form (docs/reference.md, POST /segment). A blank
 * field counts as not given, because browsers send every field of a form, except for booleans,
 * whose false some languages write as empty text. Segmind ignores coordinates beside a prompt, so
 * they are dropped. Throws `invalid_parameter` naming the field, or `missing_selection`.
 */
export function parseParams(fields: FormFields, rules: ParamRules): ParsedFields {
  const prompt = parsePrompt(fields.prompt)
  const isIgnoringPoints = prompt !== undefined && !isBlank(fields.coordinates)
  const coordinates = isIgnoringPoints ? undefined : parsePoints('coordinates', fields.coordinates)
  const removeCoordinates = parsePoints('remove_coordinates', fields.remove_coordinates)
  const form = parseOutputForm(fields)
  const overlayMask = resolveOverlayMask(form.output, parseBoolean('overlay_mask', fields.overlay_mask))
  const base64 = parseBoolean('base64', fields.base64) ?? rules.base64Default
  if (prompt === undefined && coordinates === undefined && !rules.allowNoSelection) throw missingSelection()
  const params: Params = { ...defined({ prompt, coordinates, removeCoordinates }), overlayMask }
  return { ...form, params, base64, ignoredFields: isIgnoringPoints ? ['coordinates'] : [] }
}

function parsePrompt(value: unknown): string | undefined {
  if (value === undefined) return undefined
  const refuse = (was: string): GatewayError =>
    new GatewayError('invalid_parameter', `prompt takes text of 1–${MAX_PROMPT_CHARACTERS} characters; it was ${was}.`)
  if (typeof value !== 'string') throw refuse(describeValue(value))
  const prompt = value.trim()
  if (prompt === '') return undefined
  if (prompt.length > MAX_PROMPT_CHARACTERS && isLonger(prompt)) throw refuse('longer')
  if (BROKEN_TEXT.test(prompt)) throw refuse('text in a broken encoding (it has U+FFFD or half a surrogate pair)')
  if (prompt.includes('\0')) throw refuse('text with a NUL character')
  return prompt
}

/** Counts Unicode code points, of which each has at most two characters. */
function isLonger(prompt: string): boolean {
  return prompt.length > 2 * MAX_PROMPT_CHARACTERS || [...prompt].length > MAX_PROMPT_CHARACTERS
}

/** Values of `coordinates` that name no point: nothing, blank text, an empty list. */
function isBlank(value: unknown): boolean {
  if (typeof value === 'string') return /^\s*(?:\[\s*\])?\s*$/.test(value)
  return value === undefined || (Array.isArray(value) && value.length === 0)
}

const MAX_POINTS = 100
/**
 * Fits a hundred points with numbers at their longest, and blanks. Bounded because parsing
 * megabytes of text takes seconds.
 */
const MAX_POINTS_CHARACTERS = 64 * 1024
const POINTS_ACCEPTED = `takes [x,y] or [[x,y],…] with finite numbers ≥ 0, at most ${MAX_POINTS} points`

/**
 * Parses `coordinates` or `remove_coordinates`: a list, or JSON text of one. A flat `[x,y]` is one
 * point. Returns undefined for blank text and an empty list. Throws `invalid_parameter`.
 */
export function parsePoints(field: string, value: unknown): readonly Point[] | undefined {
  const list = typeof value === 'string' ? parseListText(field, value) : value
  if (list === undefined) return undefined
  if (!Array.isArray(list)) throw invalidPoints(field, `it was ${describeValue(value)}`)
  if (list.length === 0) return undefined
  const isFlat = list.every(item => !Array.isArray(item))
  const pairs: unknown[] = isFlat ? [list] : list
  if (pairs.length > MAX_POINTS) throw invalidPoints(field, `there were ${pairs.length} points`)
  return pairs.map((pair, index) => parsePoint(field, pair, isFlat ? undefined : index + 1))
}

function parseListText(field: string, text: string): unknown {
  if (text.length > MAX_POINTS_CHARACTERS)
    throw invalidPoints(field, `it was longer than ${MAX_POINTS_CHARACTERS} characters`)
  if (text.trim() === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    throw invalidPoints(field, `it was ${describeValue(text)}`)
  }
}

function parsePoint(field: string, pair: unknown, position: number | undefined): Point {
  if (Array.isArray(pair) && pair.length === 2) {
    const [x, y] = pair as unknown[]
    // Adding 0 turns −0 into 0: the same place must have the same cache key.
    if (isCoordinate(x) && isCoordinate(y)) return [x + 0, y + 0]
  }
  throw invalidPoints(field, `${position === undefined ? 'it' : `point ${position}`} was ${describeValue(pair)}`)
}

function isCoordinate(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function invalidPoints(field: string, was: string): GatewayError {
  return new GatewayError('invalid_parameter', `${field} ${POINTS_ACCEPTED}; ${was}.`)
}

const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['1', true],
  ['yes', true],
  ['on', true],
  ['false', false],
  ['0', false],
  ['no', false],
  ['off', false],
])

/**
 * Parses a boolean as Python (`True`), curl (`1`), browsers (`on`) or JSON write it. Throws
 * `invalid_parameter`.
 */
export function parseBoolean(field: string, value: unknown): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value
  const word = typeof value === 'string' || typeof value === 'number' ? String(value).trim().toLowerCase() : undefined
  const parsed = word === undefined ? undefined : BOOLEANS.get(word)
  if (parsed === undefined) {
    const accepted = [...BOOLEANS.keys()].join(', ')
    const was = word === '' ? 'empty. Some languages write false as empty text' : describeValue(value)
    throw new GatewayError('invalid_parameter', `${field} takes a boolean (${accepted}); it was ${was}.`)
  }
  return parsed
}

/**
 * Returns the `overlay_mask` to send to Segmind: true only for `overlay`, since all other outputs
 * need the mask. Throws `invalid_parameter` if the request's own `overlay_mask` contradicts its
 * `output`.
 */
function resolveOverlayMask(output: Output | undefined, overlayMask: boolean | undefined): boolean {
  if (output === undefined) return overlayMask ?? true
  const needed = output === 'overlay'
  if (overlayMask === undefined || overlayMask === needed) return needed
  throw new GatewayError(
    'invalid_parameter',
    `overlay_mask: output=${output} means overlay_mask=${needed}; it was ${overlayMask}. Leave it out.`,
  )
}

function missingSelection(): GatewayError {
  return new GatewayError(
    'missing_selection',
    'Either prompt or coordinates is required, to select something in the image. ' +
      'remove_coordinates alone selects nothing.',
  )
}
