import type { Mask } from './tidy.js'

/** Interleaved 8-bit sRGB pixels. */
export interface Picture {
  width: number
  height: number
  rgb: Uint8Array
}

const RADIUS = 3
/** Brightness steps (of 255) below this do not bend the outline. */
const FAINT_STEP = 8

/**
 * Brings a small mask to the size of the photo, its outline drawn along the photo's own edges (guided filter: He, Sun and Tang, 2013,
 * with the coefficients found on the small picture). Answers coverage, 0–255 a pixel, soft only along the outline.
 */
export function enlarge(mask: Mask, small: Picture, photo: Picture): Uint8Array {
  const { slope, offset } = guide(mask, brightness(small.rgb))
  const coverage = new Uint8Array(photo.width * photo.height)
  const columns = sampling(photo.width, mask.width)
  const rows = sampling(photo.height, mask.height)
  for (let y = 0; y < photo.height; y++) {
    const [top, bottom] = [(rows.before[y] ?? 0) * mask.width, (rows.after[y] ?? 0) * mask.width]
    const down = rows.part[y] ?? 0
    for (let x = 0; x < photo.width; x++) {
      const [left, right] = [columns.before[x] ?? 0, columns.after[x] ?? 0]
      const across = columns.part[x] ?? 0
      const mix = (plane: Float32Array) =>
        (1 - down) * ((1 - across) * (plane[top + left] ?? 0) + across * (plane[top + right] ?? 0)) +
        down * ((1 - across) * (plane[bottom + left] ?? 0) + across * (plane[bottom + right] ?? 0))
      const pixel = y * photo.width + x
      const value = mix(slope) * luma(photo.rgb, pixel) + mix(offset)
      coverage[pixel] = Math.round(255 * Math.min(1, Math.max(0, (value - 0.35) / 0.3)))
    }
  }
  return coverage
}

function guide(mask: Mask, bright: Float32Array): { slope: Float32Array; offset: Float32Array } {
  const blur = (values: Float32Array) => boxMean(values, mask.width, mask.height)
  const inside = Float32Array.from(mask.inside)
  const [meanBright, meanInside] = [blur(bright), blur(inside)]
  const meanSquare = blur(bright.map(value => value * value))
  const meanProduct = blur(bright.map((value, pixel) => value * (inside[pixel] ?? 0)))
  const slope = meanBright.map((mean, pixel) => {
    const variance = Math.max(0, (meanSquare[pixel] ?? 0) - mean * mean)
    return ((meanProduct[pixel] ?? 0) - mean * (meanInside[pixel] ?? 0)) / (variance + FAINT_STEP * FAINT_STEP)
  })
  const offset = meanInside.map((mean, pixel) => mean - (slope[pixel] ?? 0) * (meanBright[pixel] ?? 0))
  return { slope: blur(slope), offset: blur(offset) }
}

/** For each pixel of a long line: the two pixels of the short one it lies between, and how far it is from the first. */
function sampling(long: number, short: number) {
  const before = new Int32Array(long)
  const after = new Int32Array(long)
  const part = new Float32Array(long)
  for (let index = 0; index < long; index++) {
    const at = Math.min(Math.max(((index + 0.5) * short) / long - 0.5, 0), short - 1)
    before[index] = Math.floor(at)
    after[index] = Math.min(short - 1, Math.floor(at) + 1)
    part[index] = at - Math.floor(at)
  }
  return { before, after, part }
}

function boxMean(values: Float32Array, width: number, height: number): Float32Array {
  const across = slidingMean(values, { lines: height, lineStep: width, length: width, step: 1 })
  return slidingMean(across, { lines: width, lineStep: 1, length: height, step: width })
}

function slidingMean(
  values: Float32Array,
  shape: { lines: number; lineStep: number; length: number; step: number },
): Float32Array {
  const result = new Float32Array(values.length)
  for (let line = 0; line < shape.lines; line++) {
    const at = (index: number) => line * shape.lineStep + index * shape.step
    let sum = 0
    for (let index = -RADIUS; index < shape.length + RADIUS; index++) {
      if (index + RADIUS < shape.length && index + RADIUS >= 0) sum += values[at(index + RADIUS)] ?? 0
      if (index - RADIUS - 1 >= 0 && index - RADIUS - 1 < shape.length) sum -= values[at(index - RADIUS - 1)] ?? 0
      if (index < 0 || index >= shape.length) continue
      const count = Math.min(shape.length - 1, index + RADIUS) - Math.max(0, index - RADIUS) + 1
      result[at(index)] = sum / count
    }
  }
  return result
}

function brightness(rgb: Uint8Array): Float32Array {
  return Float32Array.from({ length: rgb.length / 3 }, (_, pixel) => luma(rgb, pixel))
}

function luma(rgb: Uint8Array, pixel: number): number {
  return 0.299 * (rgb[3 * pixel] ?? 0) + 0.587 * (rgb[3 * pixel + 1] ?? 0) + 0.114 * (rgb[3 * pixel + 2] ?? 0)
}
