import { GatewayError } from '../contracts/errors.js'
import { OUTLINE_FORMS, type OutlineForm } from '../images/outline-forms.js'
import { describeValue } from './describe.js'

/**
 * Forms of a result: `overlay` and `mask` come from Segmind, the others are made of the mask here.
 */
const OUTPUTS = ['overlay', 'mask', 'cutout', 'rle', ...OUTLINE_FORMS] as const

export type Output = (typeof OUTPUTS)[number]

/** The form that a request asks for. */
export interface OutputForm {
  /** Absent if the request named none. */
  output?: Output | undefined
  /**
   * Tolerance of an outline in pixels. Present for outputs that are outlines, and only for them.
   */
  simplify?: number | undefined
}

/** Removes the steps of slopes. */
const DEFAULT_SIMPLIFY = 1
const MAX_SIMPLIFY = 1000
/**
 * Thousandths of a pixel are kept. Smaller numbers have exponents as text, which a URL does not
 * take.
 */
const STEPS = 1000
const DECIMAL = /^(\d+\.?\d*|\.\d+)$/

/** Parses `output` and `simplify`. Blank text counts as not given. Throws `invalid_parameter`. */
export function parseOutputForm(fields: { readonly output?: unknown; readonly simplify?: unknown }): OutputForm {
  const output = parseOutput(fields.output)
  const simplify = parseSimplify(fields.simplify)
  if (isOutline(output)) return { output, simplify: simplify ?? DEFAULT_SIMPLIFY }
  if (simplify === undefined) return output === undefined ? {} : { output }
  const was = output === undefined ? 'output was not given' : `output=${output} has no outline`
  throw invalid(`simplify works with output=${OUTLINE_FORMS.join(', ')}; ${was}. Leave it out.`)
}

export function isOutline(output: Output | undefined): output is OutlineForm {
  return (OUTLINE_FORMS as readonly unknown[]).includes(output)
}

export function parseOutput(value: unknown): Output | undefined {
  if (value === undefined) return undefined
  const word = typeof value === 'string' ? value.trim().toLowerCase() : undefined
  if (word === '') return undefined
  const output = OUTPUTS.find(each => each === word)
  if (output) return output
  throw invalid(`output takes ${OUTPUTS.join(', ')}; it was ${describeValue(value)}.`)
}

function parseSimplify(value: unknown): number | undefined {
  if (value === undefined) return undefined
  const text = typeof value === 'string' ? value.trim() : undefined
  if (text === '') return undefined
  const pixels = text !== undefined && DECIMAL.test(text) ? Number(text) : value
  // Adding 0 turns −0 into 0: equal outlines have equal keys.
  if (typeof pixels === 'number' && pixels >= 0 && pixels <= MAX_SIMPLIFY) return Math.round(pixels * STEPS) / STEPS + 0
  throw invalid(`simplify takes a number of pixels from 0 to ${MAX_SIMPLIFY}; it was ${describeValue(value)}.`)
}

function invalid(detail: string): GatewayError {
  return new GatewayError('invalid_parameter', detail)
}
