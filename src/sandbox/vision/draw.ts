import type { Picture } from './enlarge.js'

const TINT = [30, 144, 255] as const
const TINT_STRENGTH = 0.5
const OUTLINE = [255, 255, 255] as const
const HALF = 128

/** Draws the selection onto the photo, in place: tinted, with a light outline. `coverage` is 0–255 a pixel. */
export function drawOverlay({ width, height, rgb }: Picture, coverage: Uint8Array): void {
  const thickness = Math.max(1, Math.round(Math.max(width, height) / 320))
  const isOutline = outlineOf(coverage, { width, height, thickness })
  for (let pixel = 0; pixel < coverage.length; pixel++) {
    const share = ((coverage[pixel] ?? 0) / 255) * TINT_STRENGTH
    const outline = isOutline(pixel)
    if (share === 0 && !outline) continue
    for (let channel = 0; channel < 3; channel++) {
      const before = rgb[3 * pixel + channel] ?? 0
      rgb[3 * pixel + channel] = outline
        ? (OUTLINE[channel] ?? 0)
        : Math.round(before * (1 - share) + (TINT[channel] ?? 0) * share)
    }
  }
}

/** Tells whether a selected pixel is so near to one that is not selected that it belongs to the outline. */
function outlineOf(coverage: Uint8Array, shape: { width: number; height: number; thickness: number }) {
  const { width, height, thickness } = shape
  const diagonal = Math.max(1, Math.round(thickness * Math.SQRT1_2))
  const steps = [
    [thickness, 0],
    [-thickness, 0],
    [0, thickness],
    [0, -thickness],
    [diagonal, diagonal],
    [-diagonal, diagonal],
    [diagonal, -diagonal],
    [-diagonal, -diagonal],
  ] as const
  return (pixel: number) => {
    if ((coverage[pixel] ?? 0) < HALF) return false
    const x = pixel % width
    const y = (pixel - x) / width
    return steps.some(([dx, dy]) => {
      if (x + dx < 0 || x + dx >= width || y + dy < 0 || y + dy >= height) return false
      return (coverage[pixel + dy * width + dx] ?? 0) < HALF
    })
  }
}
