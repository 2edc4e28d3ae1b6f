/** A point of the image: `[x, y]` in pixels from its upper left corner. */
export type Point = readonly [x: number, y: number]

/** What to select: a prompt, or points. */
export interface Selection {
  prompt?: string
  coordinates?: readonly Point[]
  removeCoordinates?: readonly Point[]
  /** Whether the answer is the photo with the selection on it (default), or the bare mask. */
  overlayMask?: boolean
  /** The same by name, and more: a PNG cut out along the selection, or COCO's run-length encoding. */
  output?: 'overlay' | 'mask' | 'cutout' | 'rle'
}

/** The fields of a request, as JSON has them; what is not given is left out. */
export function fieldsOf(selection: Selection): Record<string, unknown> {
  const { prompt, coordinates, removeCoordinates, overlayMask, output } = selection
  const fields = { prompt, coordinates, remove_coordinates: removeCoordinates, overlay_mask: overlayMask, output }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

/** The same as a form has them: text. */
export function asText(fields: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]),
  )
}
