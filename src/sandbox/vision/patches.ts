import { FEATURES, type Size } from './features.js'
import type { Regions } from './regions.js'

const BINS = 16
/** Weights of the channels of a histogram: L, a, b and the gradient. */
const CHANNEL_WEIGHTS = [1, 1.5, 1.5, 0.7]

/** Additive statistics of one region, or of several joined regions. */
export interface Patch {
  pixels: number
  /** Sums of the coordinates. */
  x: number
  y: number
  /** Pixels on the left, right, top and bottom side of the picture. */
  sides: number[]
  /** Bounding box as maximums of −x, x, −y and y. */
  box: number[]
  /** `BINS` counts for each channel. */
  histogram: Float32Array
}

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

interface PatchSource extends Size {
  features: Float32Array
  /** Gradient of each pixel. */
  steps: Float32Array
  regions: Regions
}

/** Computes the statistics of each region and of each border between two regions. */
export function toPatches(picture: PatchSource): PatchGraph {
  const { width, height, features, steps, regions } = picture
  const patches = Array.from({ length: regions.count }, emptyPatch)
  const borders = patches.map(() => new Map<number, Border>())
  regions.of.forEach((region, pixel) => {
    const patch = patches[region]
    if (!patch) return
    const x = pixel % width
    const y = (pixel - x) / width
    patch.pixels++
    patch.x += x
    patch.y += y
    extend(patch, 0, -x, 0)
    extend(patch, 1, x, width - 1)
    extend(patch, 2, -y, 0)
    extend(patch, 3, y, height - 1)
    addLevel(patch.histogram, 0, (features[FEATURES * pixel] ?? 0) / 100)
    addLevel(patch.histogram, 1, ((features[FEATURES * pixel + 1] ?? 0) + 64) / 128)
    addLevel(patch.histogram, 2, ((features[FEATURES * pixel + 2] ?? 0) + 64) / 128)
    addLevel(patch.histogram, 3, (steps[pixel] ?? 0) / 40)
    if (x + 1 < width) addBorder(borders, picture, pixel, pixel + 1)
    if (y + 1 < height) addBorder(borders, picture, pixel, pixel + width)
  })
  return { patches, borders }
}

export function joinPatches(a: Patch, b: Patch): Patch {
  return {
    pixels: a.pixels + b.pixels,
    x: a.x + b.x,
    y: a.y + b.y,
    sides: a.sides.map((pixels, side) => pixels + (b.sides[side] ?? 0)),
    box: a.box.map((most, side) => Math.max(most, b.box[side] ?? 0)),
    histogram: a.histogram.map((count, bin) => count + (b.histogram[bin] ?? 0)),
  }
}

/**
 * Returns the earth mover's distance of two normalised histograms, in bins, weighted by channel.
 * About 1 is a visible difference, 5 a large one.
 */
export function difference(a: Pick<Patch, 'pixels' | 'histogram'>, b: Pick<Patch, 'pixels' | 'histogram'>): number {
  let total = 0
  for (let channel = 0; channel < CHANNEL_WEIGHTS.length; channel++) {
    let [carried, moved] = [0, 0]
    for (let bin = channel * BINS; bin < (channel + 1) * BINS; bin++) {
      carried += (a.histogram[bin] ?? 0) / a.pixels - (b.histogram[bin] ?? 0) / b.pixels
      moved += Math.abs(carried)
    }
    total += moved * (CHANNEL_WEIGHTS[channel] ?? 1)
  }
  return total
}

function emptyPatch(): Patch {
  const box = [0, 0, 0, 0].map(() => Number.NEGATIVE_INFINITY)
  const histogram = new Float32Array(CHANNEL_WEIGHTS.length * BINS)
  return { pixels: 0, x: 0, y: 0, sides: [0, 0, 0, 0], box, histogram }
}

/**
 * Extends one side of the bounding box to a pixel, and counts the pixel if it is on the side of the
 * picture.
 */
function extend({ box, sides }: Patch, side: number, reach: number, rim: number): void {
  box[side] = Math.max(box[side] ?? 0, reach)
  if (reach === rim) sides[side] = (sides[side] ?? 0) + 1
}

/** Divides one count between the two bins nearest to a level of 0–1. */
function addLevel(histogram: Float32Array, channel: number, level: number): void {
  const position = Math.min(Math.max(level, 0), 1) * (BINS - 1)
  const lower = Math.min(Math.floor(position), BINS - 2)
  const bin = channel * BINS + lower
  histogram[bin] = (histogram[bin] ?? 0) + 1 - (position - lower)
  histogram[bin + 1] = (histogram[bin + 1] ?? 0) + position - lower
}

function addBorder(borders: PatchGraph['borders'], { regions, steps }: PatchSource, p: number, q: number): void {
  const [a, b] = [regions.of[p] ?? 0, regions.of[q] ?? 0]
  if (a === b) return
  const border = borders[a]?.get(b) ?? { length: 0, strength: 0 }
  border.length++
  border.strength += Math.max(steps[p] ?? 0, steps[q] ?? 0)
  borders[a]?.set(b, border)
  borders[b]?.set(a, border)
}
