import { FEATURES, forEachPair, type Size } from './features.js'
import type { Regions } from './regions.js'

const BINS = 16
/** Weight, origin and range of each channel of a histogram: L, a, b and the gradient. */
const CHANNELS = [
  [1, 0, 100],
  [1.5, -64, 128],
  [1.5, -64, 128],
  [0.7, 0, 40],
] as const

/**
 * Statistics of the pixels of one region, or of several joined regions. First the bounding box as
 * maximums of −x, x, −y and y. Then sums: 1, x, y; 1 for pixels on the left, right, top and bottom
 * side of the picture; `BINS` counts for each channel.
 */
export type Patch = Float64Array
export const [PIXELS, X, Y, SIDES] = [4, 5, 6, 7]
const HISTOGRAM = 11

/** Line between two neighbouring patches: its length, and the sum of the gradient along it. */
export interface Border {
  length: number
  strength: number
}

export interface PatchGraph {
  patches: Patch[]
  /** Borders of each patch, by neighbour. */
  borders: Map<number, Border>[]
}

/** Computes the sums of each region and of each border between two regions. */
export function toPatches(size: Size, regions: Regions, features: Float32Array, steps: Float32Array): PatchGraph {
  const { width, height } = size
  const patches = Array.from({ length: regions.count }, () =>
    new Float64Array(HISTOGRAM + CHANNELS.length * BINS).fill(Number.NEGATIVE_INFINITY, 0, PIXELS),
  )
  const borders = patches.map(() => new Map<number, Border>())
  regions.of.forEach((region, pixel) => {
    const patch = patches[region] ?? new Float64Array()
    const add = (index: number, value: number) => {
      patch[index] = (patch[index] ?? 0) + value
    }
    const extend = (side: number, reach: number, rim: number) => {
      patch[side] = Math.max(patch[side] ?? 0, reach)
      if (reach === rim) add(SIDES + side, 1)
    }
    const [x, y] = [pixel % width, Math.floor(pixel / width)]
    extend(0, -x, 0)
    extend(1, x, width - 1)
    extend(2, -y, 0)
    extend(3, y, height - 1)
    add(PIXELS, 1)
    add(X, x)
    add(Y, y)
    for (let channel = 0; channel < CHANNELS.length; channel++) {
      const [, origin, range] = CHANNELS[channel] ?? CHANNELS[0]
      const value = (channel < 3 ? features[FEATURES * pixel + channel] : steps[pixel]) ?? 0
      const position = Math.min(Math.max((value - origin) / range, 0), 0.999) * (BINS - 1)
      const bin = HISTOGRAM + channel * BINS + Math.floor(position)
      add(bin, 1 - (position % 1))
      add(bin + 1, position % 1)
    }
  })
  forEachPair(size, (p, q, distance) => {
    const [a, b] = [regions.of[p] ?? 0, regions.of[q] ?? 0]
    if (a === b || distance > 1) return
    const border = borders[a]?.get(b) ?? { length: 0, strength: 0 }
    border.length++
    border.strength += Math.max(steps[p] ?? 0, steps[q] ?? 0)
    borders[a]?.set(b, border)
    borders[b]?.set(a, border)
  })
  return { patches, borders }
}

/** Adds a patch to another one, in place. */
export function addPatch(patch: Patch, other: Patch = new Float64Array()): void {
  for (let index = 0; index < other.length; index++) {
    const [own, added] = [patch[index] ?? 0, other[index] ?? 0]
    patch[index] = index < PIXELS ? Math.max(own, added) : own + added
  }
}

/**
 * Returns the earth mover's distance of two normalised histograms, in bins, weighted by channel.
 * About 1 is a visible difference, 5 a large one.
 */
export function difference(a: Patch, b: Patch): number {
  const [pixelsOfA, pixelsOfB] = [a[PIXELS] ?? 0, b[PIXELS] ?? 0]
  let total = 0
  for (const [channel, [weight]] of CHANNELS.entries()) {
    let carried = 0
    for (let bin = HISTOGRAM + channel * BINS; bin < HISTOGRAM + (channel + 1) * BINS; bin++) {
      carried += (a[bin] ?? 0) / pixelsOfA - (b[bin] ?? 0) / pixelsOfB
      total += weight * Math.abs(carried)
    }
  }
  return total
}
