import type { Place } from './points.js'

export interface Size {
  width: number
  height: number
}

/** Where something lies in the window. */
export interface Box extends Size {
  left: number
  top: number
}

/** Sides that differ by no more are taken for the same: masks come in whole pixels. */
const SHAPE_TOLERANCE = 0.02

/** The pixel of a picture under a place in the window. Outside of the picture, the nearest one. */
export function pixelAt(at: { clientX: number; clientY: number }, box: Box, size: Size): Place {
  return inside(
    {
      x: Math.floor(((at.clientX - box.left) / box.width) * size.width),
      y: Math.floor(((at.clientY - box.top) / box.height) * size.height),
    },
    size,
  )
}

/** The nearest pixel that the picture has. */
export function inside({ x, y }: Place, { width, height }: Size): Place {
  return { x: clamp(x, width - 1), y: clamp(y, height - 1) }
}

/** The middle of a pixel, as parts of 100 of the picture's sides. */
export function percentOf({ x, y }: Place, { width, height }: Size): Place {
  return { x: (100 * (x + 0.5)) / width, y: (100 * (y + 0.5)) / height }
}

/** How many pixels of the picture an arrow key goes: one, or, where a pixel is too small to be seen moving, one of the screen. */
export function nudge(box: Size, size: Size): number {
  return Math.max(1, Math.round(size.width / Math.max(1, box.width)))
}

/** Whether two pictures have one shape, so that one can lie on the other. */
export function isSameShape(one: Size, other: Size): boolean {
  return Math.abs((one.width * other.height) / (one.height * other.width) - 1) <= SHAPE_TOLERANCE
}

function clamp(value: number, max: number): number {
  return Math.min(Math.max(value, 0), Math.max(0, max))
}
