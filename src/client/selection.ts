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
  /**
   * `cutout` is a PNG, `rle` is COCO's encoding; `polygon`, `geojson` and `yolo` are outlines. Must
   * not contradict `overlayMask`.
   */
  output?: 'overlay' | 'mask' | 'cutout' | 'rle' | 'polygon' | 'geojson' | 'yolo'
  /** Tolerance of an outline in pixels, default 1. 0 is exact. */
  simplify?: number
}

/** Returns the JSON fields of a request. */
export function toFields(selection: Selection): Record<string, unknown> {
  const { removeCoordinates, overlayMask, prompt, coordinates, output, simplify } = selection
  const renamed = { remove_coordinates: removeCoordinates, overlay_mask: overlayMask }
  return defined({ prompt, coordinates, ...renamed, output, simplify })
}

/** Returns the same fields as text for a form. */
export function toFormFields(fields: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]),
  )
}
