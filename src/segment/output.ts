import { GatewayError } from '../errors.js'
import { describeValue } from './describe.js'

/** What is wanted of a selection: what Segmind draws, or what is made here of its mask. */
export const OUTPUTS = ['overlay', 'mask', 'cutout', 'rle'] as const

export type Output = (typeof OUTPUTS)[number]

/** Throws `invalid_parameter`; blank text counts as not given. */
export function parseOutput(value: unknown): Output | undefined {
  if (value === undefined) return undefined
  const word = typeof value === 'string' ? value.trim().toLowerCase() : undefined
  if (word === '') return undefined
  const output = OUTPUTS.find(each => each === word)
  if (output) return output
  throw new GatewayError('invalid_parameter', `output takes ${OUTPUTS.join(', ')}; it was ${describeValue(value)}.`)
}

/**
 * What Segmind is asked for: everything but `overlay` is made of the mask. Throws `invalid_parameter` where `overlay_mask` says otherwise.
 */
export function overlayMaskOf(output: Output | undefined, overlayMask: boolean | undefined): boolean {
  if (output === undefined) return overlayMask ?? true
  const needed = output === 'overlay'
  if (overlayMask === undefined || overlayMask === needed) return needed
  throw new GatewayError(
    'invalid_parameter',
    `overlay_mask: output=${output} means overlay_mask=${needed}; it was ${overlayMask}. Leave it out.`,
  )
}
