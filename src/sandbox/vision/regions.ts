import { forEachPair, type Size, squaredDistance } from './features.js'

/** Disjoint groups of nodes (union-find). */
export class Groups {
  readonly #parents: Int32Array
  readonly #sizes: Int32Array

  constructor(nodes: number) {
    this.#parents = Int32Array.from({ length: nodes }, (_, node) => node)
    this.#sizes = new Int32Array(nodes).fill(1)
  }

  /** Returns the node that identifies a group. */
  of(node: number): number {
    let group = node
    for (let parent = this.#parents[group] ?? group; parent !== group; parent = this.#parents[group] ?? group) {
      group = this.#parents[parent] ?? parent
      this.#parents[node] = group
    }
    return group
  }

  sizeOf(node: number): number {
    return this.#sizes[this.of(node)] ?? 0
  }

  /** Joins the groups of two nodes. Returns the node that identifies the new one. */
  join(p: number, q: number): number {
    const [a, b] = [this.of(p), this.of(q)]
    if (a === b) return a
    const [small, large] = this.sizeOf(a) < this.sizeOf(b) ? [a, b] : [b, a]
    this.#sizes[large] = this.sizeOf(a) + this.sizeOf(b)
    this.#parents[small] = large
    return large
  }
}

/** Partition of a picture into small regions of similar colour. */
export interface Regions {
  count: number
  /** Region of each pixel, 0 … count − 1. */
  of: Int32Array
}

/** Maximum number of pairs of neighbouring pixels. */
const PAIRS = 2 ** 19

/**
 * Graph-based segmentation (Felzenszwalb and Huttenlocher, 2004). Joins two regions when the colour
 * step between them is small compared to the variation inside each. Then joins regions of fewer
 * than `minPixels` pixels with a neighbour. Deterministic.
 */
export function cutIntoRegions(features: Float32Array, size: Size, grain: number, minPixels: number): Regions {
  const offsets = [1, size.width, size.width + 1, size.width - 1]
  const keys = new Uint32Array(4 * size.width * size.height)
  let count = 0
  forEachPair(size, (p, q) => {
    const level = Math.min(8191, Math.floor(32 * Math.sqrt(squaredDistance(features, p, q))))
    keys[count++] = level * PAIRS + 4 * p + offsets.indexOf(q - p)
  })
  const order = keys.subarray(0, count).sort()
  const groups = new Groups(size.width * size.height)
  const tolerance = new Float32Array(size.width * size.height).fill(grain)
  for (const isFirst of [true, false]) {
    for (const key of order) {
      const pair = key % PAIRS
      const [p, q] = [pair >> 2, (pair >> 2) + (offsets[pair & 3] ?? 0)]
      const [a, b] = [groups.of(p), groups.of(q)]
      if (a === b) continue
      if (!isFirst && Math.min(groups.sizeOf(a), groups.sizeOf(b)) >= minPixels) continue
      const step = Math.sqrt(squaredDistance(features, p, q))
      if (isFirst && step > Math.min(tolerance[a] ?? 0, tolerance[b] ?? 0)) continue
      const joined = groups.join(a, b)
      tolerance[joined] = step + grain / groups.sizeOf(joined)
    }
  }
  const numbers = new Map<number, number>()
  const of = tolerance.map((_, pixel) => {
    const group = groups.of(pixel)
    if (!numbers.has(group)) numbers.set(group, numbers.size)
    return numbers.get(group) ?? 0
  })
  return { count: numbers.size, of: Int32Array.from(of) }
}

/** Adds up the values of the pixels of each region. */
export function sumByRegion(regions: Regions, values: ArrayLike<number>): Float32Array {
  const sums = new Float32Array(regions.count)
  regions.of.forEach((region, pixel) => {
    sums[region] = (sums[region] ?? 0) + (values[pixel] ?? 0)
  })
  return sums
}
