import { blur } from './features.js'
import type { Picture } from './photo.js'

/** Brightness steps (of 255) below this have little influence on the outline. */
const FAINT_STEP = 8
const TINT = [30, 144, 255]
const TINT_STRENGTH = 0.5
const OUTLINE = 255
const HALF = 128

/**
 * Enlarges a mask of the small picture and fits its outline to the edges of the photo (guided
 * filter: He, Sun and Tang, 2013). Returns the coverage of each pixel, 0–255.
 */
export function enlarge(inside: Uint8Array, small: Picture, full: Picture): Uint8Array {
  const { slope, offset } = guide(inside, small)
  const coverage = new Uint8Array(full.width * full.height)
  for (let y = 0; y < full.height; y++) {
    const row = reduce(y, full.height, small.height)
    const top = Math.floor(row)
    const down = row - top
    const [upper, lower] = [top * small.width, Math.min(small.height - 1, top + 1) * small.width]
    for (let x = 0; x < full.width; x++) {
      const column = reduce(x, full.width, small.width)
      const left = Math.floor(column)
      const right = Math.min(small.width - 1, left + 1)
      const across = column - left
      const mix = (plane: Float32Array) =>
        (1 - down) * ((1 - across) * (plane[upper + left] ?? 0) + across * (plane[upper + right] ?? 0)) +
        down * ((1 - across) * (plane[lower + left] ?? 0) + across * (plane[lower + right] ?? 0))
      const pixel = y * full.width + x
      const value = mix(slope) * brightness(full.rgb, pixel) + mix(offset)
      coverage[pixel] = Math.round(255 * Math.min(1, Math.max(0, (value - 0.35) / 0.3)))
    }
  }
  return coverage
}

/** Tints the selection in a photo and draws its outline, in place. */
export function drawOverlay({ width, height, rgb }: Picture, coverage: Uint8Array): void {
  const thickness = Math.max(1, Math.round(Math.max(width, height) / 320))
  const offsets = [-thickness, 0, thickness]
  const isOutside = (x: number, y: number) =>
    x >= 0 && x < width && y >= 0 && y < height && (coverage[y * width + x] ?? 0) < HALF
  for (let pixel = 0; pixel < coverage.length; pixel++) {
    const share = ((coverage[pixel] ?? 0) / 255) * TINT_STRENGTH
    if (share === 0) continue
    const [x, y] = [pixel % width, Math.floor(pixel / width)]
    const isOutline = !isOutside(x, y) && offsets.some(across => offsets.some(down => isOutside(x + across, y + down)))
    for (const [channel, tint] of TINT.entries()) {
      const tinted = (rgb[3 * pixel + channel] ?? 0) * (1 - share) + tint * share
      rgb[3 * pixel + channel] = isOutline ? OUTLINE : Math.round(tinted)
    }
  }
}

/** Fits the mask as a linear function of the brightness around each pixel. */
function guide(inside: Uint8Array, small: Picture): { slope: Float32Array; offset: Float32Array } {
  const smooth = (values: Float32Array) => blur(values, small, 2, 2)
  const mask = Float32Array.from(inside)
  const bright = mask.map((_, pixel) => brightness(small.rgb, pixel))
  const [meanBright, meanMask] = [smooth(bright), smooth(mask)]
  const meanSquare = smooth(bright.map(value => value * value))
  const meanProduct = smooth(bright.map((value, pixel) => value * (mask[pixel] ?? 0)))
  const slope = meanBright.map((mean, pixel) => {
    const variance = Math.max(0, (meanSquare[pixel] ?? 0) - mean * mean)
    return ((meanProduct[pixel] ?? 0) - mean * (meanMask[pixel] ?? 0)) / (variance + FAINT_STEP * FAINT_STEP)
  })
  const offset = meanMask.map((mean, pixel) => mean - (slope[pixel] ?? 0) * (meanBright[pixel] ?? 0))
  return { slope: smooth(slope), offset: smooth(offset) }
}

/** Returns the position of a pixel of a long line on a short one. */
function reduce(index: number, long: number, short: number): number {
  return Math.min(Math.max(((index + 0.5) * short) / long - 0.5, 0), short - 1)
}

function brightness(rgb: Uint8Array, pixel: number): number {
  return 0.299 * (rgb[3 * pixel] ?? 0) + 0.587 * (rgb[3 * pixel + 1] ?? 0) + 0.114 * (rgb[3 * pixel + 2] ?? 0)
}
