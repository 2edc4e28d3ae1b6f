import { defined } from './defined.js'

/** A point of the image: `[x, y]` in pixels from the top left corner. */
export type Point = readonly [x: number, y: number]

/** The object to select: a prompt, or points on it and points to exclude. */
export interface Selection {
  prompt?: string
  coordinates?: readonly Point[]
  removeCoordinates?: readonly Point[]
  /** True (default) returns the photo with the selection drawn on it, false the bare mask. */
  overlayMask?: boolean
  /** `cutout` is a PNG, `rle` is COCO's encoding. Must not contradict `overlayMask`. */
  output?: 'overlay' | 'mask' | 'cutout' | 'rle'
}

/** Returns the JSON fields of a request. */
export function toFields(selection: Selection): Record<string, unknown> {
  const { prompt, coordinates, removeCoordinates, overlayMask, output } = selection
  return defined({ prompt, coordinates, remove_coordinates: removeCoordinates, overlay_mask: overlayMask, output })
}

/** Returns the same fields as text for a form. */
export function toFormFields(fields: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]),
  )
}
