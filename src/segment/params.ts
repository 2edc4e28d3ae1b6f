import { GatewayError } from '../errors.js'
import { isBrokenText } from './broken-text.js'
import { describeValue } from './describe.js'
import { type Output, overlayMaskOf, parseOutput } from './output.js'
import { parsePoints } from './points.js'
import type { Params } from './types.js'
import type { FieldName, FormFields } from './upload.js'

/** What the fields of a request mean. */
export interface ParsedFields {
  params: Params
  /** Whether the answer is to be `{"image":"<base64>"}`: a rendering, no part of the question. */
  base64: boolean
  /** The form of the answer, where it was asked for by name. */
  output?: Output
  /** Fields that were sent and mean nothing, for `X-Ignored-Fields`. */
  ignoredFields: FieldName[]
}

export interface ParamRules {
  base64Default: boolean
  /** Whether Segmind may be asked without saying what to select (`ALLOW_NO_SELECTION`). */
  allowNoSelection?: boolean
}

const MAX_PROMPT_CHARACTERS = 1000

/**
 * Turns the fields of a form into their one canonical form (SPEC §3). A blank field counts as not given: browsers send every field of a form.
 * Coordinates beside a prompt mean nothing to Segmind and are dropped, but must be well-formed.
 * Throws `invalid_parameter` naming the field, `missing_selection`.
 */
export function parseParams(fields: FormFields, rules: ParamRules): ParsedFields {
  const prompt = parsePrompt(fields.prompt)
  const coordinates = parsePoints('coordinates', fields.coordinates)
  const removeCoordinates = parsePoints('remove_coordinates', fields.remove_coordinates)
  const output = parseOutput(fields.output)
  const overlayMask = overlayMaskOf(output, parseBoolean('overlay_mask', fields.overlay_mask))
  const base64 = parseBoolean('base64', fields.base64) ?? rules.base64Default
  if (prompt === undefined && coordinates === undefined && !rules.allowNoSelection) throw missingSelection()
  const params: Params = {
    ...(prompt !== undefined && { prompt }),
    ...(prompt === undefined && coordinates && { coordinates }),
    ...(removeCoordinates && { removeCoordinates }),
    overlayMask,
  }
  const ignoredFields: FieldName[] = prompt !== undefined && coordinates ? ['coordinates'] : []
  return { params, base64, ignoredFields, ...(output && { output }) }
}

function parsePrompt(value: unknown): string | undefined {
  if (value === undefined) return undefined
  const refuse = (was: string): GatewayError =>
    new GatewayError(
      'invalid_parameter',
      `prompt takes a text of 1–${MAX_PROMPT_CHARACTERS} characters; it was ${was}.`,
    )
  if (typeof value !== 'string') throw refuse(describeValue(value))
  const prompt = value.trim()
  if (prompt === '') return undefined
  if (countCharacters(prompt) > MAX_PROMPT_CHARACTERS) throw refuse('longer than that')
  if (isBrokenText(prompt)) throw refuse('a text in a broken encoding (it has U+FFFD or half a surrogate pair)')
  if (prompt.includes('\0')) throw refuse('a text with a NUL character')
  return prompt
}

/** Unicode code points, up to where it no longer matters. */
function countCharacters(text: string): number {
  return text.length > 2 * MAX_PROMPT_CHARACTERS ? text.length : [...text].length
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

/** As Python (`True`), curl (`1`) and browsers (`on`) send them, and as JSON has them. Throws `invalid_parameter`. */
export function parseBoolean(field: string, value: unknown): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value
  const word = typeof value === 'string' || typeof value === 'number' ? String(value).trim().toLowerCase() : undefined
  if (word === '') return undefined
  const parsed = word === undefined ? undefined : BOOLEANS.get(word)
  if (parsed === undefined) {
    const accepted = [...BOOLEANS.keys()].join(', ')
    throw new GatewayError(
      'invalid_parameter',
      `${field} takes a boolean (${accepted}); it was ${describeValue(value)}.`,
    )
  }
  return parsed
}

function missingSelection(): GatewayError {
  return new GatewayError(
    'missing_selection',
    'Either prompt or coordinates is required: what to select in the image. remove_coordinates alone selects nothing.',
  )
}
