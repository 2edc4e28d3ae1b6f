import { forEachPair, type Size, squaredDistance } from './features.js'

/** Partition of a picture into small regions of similar colour. */
export interface Regions {
  count: number
  /** Region of each pixel, 0 … count − 1. */
  of: Int32Array
}

/**
 * Graph-based segmentation (Felzenszwalb and Huttenlocher, 2004). Joins two regions when the colour
 * step between them is small compared to the variation inside each. Then joins regions of fewer
 * than `minPixels` pixels with a neighbour. Deterministic.
 */
export function cutIntoRegions(
  features: Float32Array,
  size: Size,
  { grain, minPixels }: { grain: number; minPixels: number },
): Regions {
  const { from, to, weight, order } = sortedSteps(features, size)
  const pixels = size.width * size.height
  const parent = new Int32Array(pixels).map((_, pixel) => pixel)
  const counts = new Int32Array(pixels).fill(1)
  const tolerance = new Float32Array(pixels).fill(grain)
  for (const step of order) {
    const a = rootOf(parent, from[step] ?? 0)
    const b = rootOf(parent, to[step] ?? 0)
    const w = weight[step] ?? 0
    if (a === b || w > Math.min(tolerance[a] ?? 0, tolerance[b] ?? 0)) continue
    const kept = join(parent, counts, a, b)
    tolerance[kept] = w + grain / (counts[kept] ?? 1)
  }
  for (const step of order) {
    const a = rootOf(parent, from[step] ?? 0)
    const b = rootOf(parent, to[step] ?? 0)
    if (a !== b && Math.min(counts[a] ?? 0, counts[b] ?? 0) < minPixels) join(parent, counts, a, b)
  }
  const numbers = new Map<number, number>()
  const of = parent.map((_, pixel) => {
    const root = rootOf(parent, pixel)
    if (!numbers.has(root)) numbers.set(root, numbers.size)
    return numbers.get(root) ?? 0
  })
  return { count: numbers.size, of }
}

/** Adds up the values of the pixels of each region. */
export function sumByRegion(regions: Regions, values: ArrayLike<number>): Float32Array {
  const sums = new Float32Array(regions.count)
  regions.of.forEach((region, pixel) => {
    sums[region] = (sums[region] ?? 0) + (values[pixel] ?? 0)
  })
  return sums
}

/** Joins two roots of a union-find forest. Returns the root of the larger tree. */
function join(parent: Int32Array, counts: Int32Array, a: number, b: number): number {
  const kept = (counts[a] ?? 0) >= (counts[b] ?? 0) ? a : b
  parent[kept === a ? b : a] = kept
  counts[kept] = (counts[a] ?? 0) + (counts[b] ?? 0)
  return kept
}

/** Finds the root in a union-find forest and halves the path to it. */
function rootOf(parent: Int32Array, pixel: number): number {
  let root = pixel
  while ((parent[root] ?? root) !== root) {
    const next = parent[parent[root] ?? root] ?? root
    parent[root] = next
    root = next
  }
  return root
}

/**
 * Returns all pairs of neighbouring pixels, and their order by colour step, in units of 1/32 Lab.
 */
function sortedSteps(features: Float32Array, size: Size) {
  const from = new Int32Array(4 * size.width * size.height)
  const to = new Int32Array(from.length)
  const weight = new Float32Array(from.length)
  let count = 0
  forEachPair(size, (p, q) => {
    from[count] = p
    to[count] = q
    weight[count++] = Math.sqrt(squaredDistance(features, p, q))
  })
  const firstOfLevel = new Int32Array(8192).fill(-1)
  const next = new Int32Array(count)
  for (let step = count - 1; step >= 0; step--) {
    const level = Math.min(8191, Math.floor((weight[step] ?? 0) * 32))
    next[step] = firstOfLevel[level] ?? -1
    firstOfLevel[level] = step
  }
  const order = new Int32Array(count)
  let filled = 0
  for (const first of firstOfLevel) for (let step = first; step >= 0; step = next[step] ?? -1) order[filled++] = step
  return { from, to, weight, order }
}
