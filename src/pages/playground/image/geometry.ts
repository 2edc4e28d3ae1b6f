export interface Size {
  width: number
  height: number
}

/** A pixel of an image. */
export interface Pixel {
  x: number
  y: number
}

/** The place of an element in the window. */
export interface Box extends Size {
  left: number
  top: number
}

/** Masks come in whole pixels, so aspect ratios may differ slightly. */
const RATIO_TOLERANCE = 0.02

/** Returns the image pixel at a position in the window, or the nearest one. */
export function pixelAt(at: { clientX: number; clientY: number }, box: Box, size: Size): Pixel {
  const x = Math.floor(((at.clientX - box.left) / box.width) * size.width)
  const y = Math.floor(((at.clientY - box.top) / box.height) * size.height)
  return clampToImage({ x, y }, size)
}

export function clampToImage({ x, y }: Pixel, { width, height }: Size): Pixel {
  return { x: clamp(x, width - 1), y: clamp(y, height - 1) }
}

/** Returns the centre of a pixel in percent of the image's sides. */
export function percentOf({ x, y }: Pixel, { width, height }: Size): Pixel {
  return { x: (100 * (x + 0.5)) / width, y: (100 * (y + 0.5)) / height }
}

/** Returns how far an arrow key moves: at least one pixel of image and screen. */
export function arrowStep(box: Box, size: Size): number {
  return Math.max(1, Math.round(size.width / Math.max(1, box.width)))
}

export function hasSameRatio(one: Size, other: Size): boolean {
  return Math.abs((one.width * other.height) / (one.height * other.width) - 1) <= RATIO_TOLERANCE
}

function clamp(value: number, max: number): number {
  return Math.min(Math.max(value, 0), Math.max(0, max))
}
