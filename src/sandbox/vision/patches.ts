import type { LabPicture } from './lab.js'
import type { Regions } from './regions.js'

/** Bins of one channel's histogram. */
export const BINS = 16
/** Channels of a histogram: L, a, b and texture (the gradient's length). */
export const CHANNELS = 4

/** What is known about one patch, or about several joined: everything adds up. */
export interface Patch {
  pixels: number
  /** Sums of the positions, for the centre. */
  sumX: number
  sumY: number
  /** Pixels that lie on the left, right, upper and lower side of the picture. */
  sides: [left: number, right: number, top: number, bottom: number]
  box: { left: number; right: number; top: number; bottom: number }
  /** `CHANNELS × BINS` counts. */
  histogram: Float32Array
}

/** The line between two neighbouring patches: how long it is and how strong the colour step along it, both added up. */
export interface Border {
  length: number
  strength: number
}

/** Patches and who touches whom. */
export interface PatchGraph {
  patches: Patch[]
  borders: Map<number, Border>[]
}

/** Measures every region and every line between two of them. */
export function toPatches(lab: LabPicture, steps: Float32Array, regions: Regions): PatchGraph {
  const patches = Array.from({ length: regions.count }, emptyPatch)
  const borders = Array.from({ length: regions.count }, () => new Map<number, Border>())
  for (let y = 0; y < lab.height; y++) {
    for (let x = 0; x < lab.width; x++) {
      const pixel = y * lab.width + x
      const patch = patches[regions.of[pixel] ?? 0]
      if (patch) count(patch, { x, y, pixel, lab, step: steps[pixel] ?? 0 })
      if (x + 1 < lab.width) touch(borders, regions, steps, pixel, pixel + 1)
      if (y + 1 < lab.height) touch(borders, regions, steps, pixel, pixel + lab.width)
    }
  }
  return { patches, borders }
}

/** One patch out of two. */
export function joinPatches(a: Patch, b: Patch): Patch {
  return {
    pixels: a.pixels + b.pixels,
    sumX: a.sumX + b.sumX,
    sumY: a.sumY + b.sumY,
    sides: [a.sides[0] + b.sides[0], a.sides[1] + b.sides[1], a.sides[2] + b.sides[2], a.sides[3] + b.sides[3]],
    box: {
      left: Math.min(a.box.left, b.box.left),
      right: Math.max(a.box.right, b.box.right),
      top: Math.min(a.box.top, b.box.top),
      bottom: Math.max(a.box.bottom, b.box.bottom),
    },
    histogram: a.histogram.map((value, bin) => value + (b.histogram[bin] ?? 0)),
  }
}

type Look = Pick<Patch, 'pixels' | 'histogram'>

/**
 * How different two patches look: the earth mover's distance of their histograms, channel by channel, in bins, weighted.
 * Zero for equal ones; about 1 is a visible difference, 5 a striking one.
 */
export function difference(a: Look, b: Look): number {
  let total = 0
  for (let channel = 0; channel < CHANNELS; channel++) {
    let carried = 0
    let moved = 0
    for (let bin = channel * BINS; bin < (channel + 1) * BINS; bin++) {
      carried += (a.histogram[bin] ?? 0) / a.pixels - (b.histogram[bin] ?? 0) / b.pixels
      moved += Math.abs(carried)
    }
    total += moved * (CHANNEL_WEIGHTS[channel] ?? 1)
  }
  return total
}

const CHANNEL_WEIGHTS = [1, 1.5, 1.5, 0.7]

function emptyPatch(): Patch {
  return {
    pixels: 0,
    sumX: 0,
    sumY: 0,
    sides: [0, 0, 0, 0],
    box: { left: Number.POSITIVE_INFINITY, right: -1, top: Number.POSITIVE_INFINITY, bottom: -1 },
    histogram: new Float32Array(CHANNELS * BINS),
  }
}

interface Sample {
  x: number
  y: number
  pixel: number
  lab: LabPicture
  step: number
}

function count(patch: Patch, { x, y, pixel, lab, step }: Sample): void {
  patch.pixels++
  patch.sumX += x
  patch.sumY += y
  if (x === 0) patch.sides[0]++
  if (x === lab.width - 1) patch.sides[1]++
  if (y === 0) patch.sides[2]++
  if (y === lab.height - 1) patch.sides[3]++
  patch.box.left = Math.min(patch.box.left, x)
  patch.box.right = Math.max(patch.box.right, x)
  patch.box.top = Math.min(patch.box.top, y)
  patch.box.bottom = Math.max(patch.box.bottom, y)
  spread(patch.histogram, 0, (lab.lightness[pixel] ?? 0) / 100)
  spread(patch.histogram, 1, ((lab.greenRed[pixel] ?? 0) + 64) / 128)
  spread(patch.histogram, 2, ((lab.blueYellow[pixel] ?? 0) + 64) / 128)
  spread(patch.histogram, 3, Math.min(1, step / 40))
}

/** Counts a value between 0 and 1 in the two bins nearest to it. */
function spread(histogram: Float32Array, channel: number, value: number): void {
  const at = Math.min(Math.max(value, 0), 1) * (BINS - 1)
  const lower = Math.min(Math.floor(at), BINS - 2)
  const bin = channel * BINS + lower
  histogram[bin] = (histogram[bin] ?? 0) + 1 - (at - lower)
  histogram[bin + 1] = (histogram[bin + 1] ?? 0) + at - lower
}

function touch(borders: Map<number, Border>[], regions: Regions, steps: Float32Array, p: number, q: number): void {
  const a = regions.of[p] ?? 0
  const b = regions.of[q] ?? 0
  if (a === b) return
  const strength = Math.max(steps[p] ?? 0, steps[q] ?? 0)
  const border = borders[a]?.get(b)
  if (border) {
    border.length++
    border.strength += strength
    return
  }
  const shared = { length: 1, strength }
  borders[a]?.set(b, shared)
  borders[b]?.set(a, shared)
}
