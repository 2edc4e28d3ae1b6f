import { type LabPicture, squaredDistance } from './lab.js'

/** A picture cut into small patches of even colour. */
export interface Regions {
  count: number
  /** Which region each pixel belongs to, 0 … count − 1. */
  of: Int32Array
}

/**
 * Cuts a picture into patches by graph-based segmentation (Felzenszwalb and Huttenlocher, 2004): two patches join when the
 * colour step between them is small against the variation inside each. Deterministic.
 */
export function cutIntoRegions(lab: LabPicture, options: { grain: number; minPixels: number }): Regions {
  const { from, to, weight, order } = sortedSteps(lab)
  const forest = new Forest(lab.width * lab.height)
  const tolerance = new Float32Array(lab.width * lab.height).fill(options.grain)
  for (const step of order) {
    const a = forest.root(from[step] ?? 0)
    const b = forest.root(to[step] ?? 0)
    const w = weight[step] ?? 0
    if (a === b || w > Math.min(tolerance[a] ?? 0, tolerance[b] ?? 0)) continue
    const joined = forest.join(a, b)
    tolerance[joined] = w + options.grain / forest.size(joined)
  }
  for (const step of order) {
    const a = forest.root(from[step] ?? 0)
    const b = forest.root(to[step] ?? 0)
    if (a !== b && Math.min(forest.size(a), forest.size(b)) < options.minPixels) forest.join(a, b)
  }
  return number(forest, lab.width * lab.height)
}

/** Union-find over pixels, with the size of each set. */
class Forest {
  readonly #parent: Int32Array
  readonly #size: Int32Array

  constructor(count: number) {
    this.#parent = Int32Array.from({ length: count }, (_, index) => index)
    this.#size = new Int32Array(count).fill(1)
  }

  root(index: number): number {
    let at = index
    while ((this.#parent[at] ?? at) !== at) {
      const grandparent = this.#parent[this.#parent[at] ?? at] ?? at
      this.#parent[at] = grandparent
      at = grandparent
    }
    return at
  }

  size(root: number): number {
    return this.#size[root] ?? 0
  }

  join(a: number, b: number): number {
    const [keep, give] = this.size(a) >= this.size(b) ? [a, b] : [b, a]
    this.#parent[give] = keep
    this.#size[keep] = this.size(a) + this.size(b)
    return keep
  }
}

/** Every pair of neighbouring pixels (right, below, both diagonals), ordered by the colour step between them. */
function sortedSteps(lab: LabPicture) {
  const { width, height } = lab
  const from = new Int32Array(4 * width * height)
  const to = new Int32Array(from.length)
  const weight = new Float32Array(from.length)
  let count = 0
  const add = (p: number, q: number) => {
    from[count] = p
    to[count] = q
    weight[count++] = Math.sqrt(squaredDistance(lab, p, q))
  }
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const here = y * width + x
      if (x + 1 < width) add(here, here + 1)
      if (y + 1 < height) add(here, here + width)
      if (x + 1 < width && y + 1 < height) add(here, here + width + 1)
      if (x > 0 && y + 1 < height) add(here, here + width - 1)
    }
  }
  return { from, to, weight, order: sortedByWeight(weight.subarray(0, count)) }
}

/** Counting sort in steps of 1/32 Lab unit: linear, stable and the same on every machine. */
function sortedByWeight(weight: Float32Array): Int32Array {
  const level = (value: number) => Math.min(8191, Math.floor(value * 32))
  const starts = new Int32Array(8193)
  for (const value of weight) starts[level(value) + 1] = (starts[level(value) + 1] ?? 0) + 1
  for (let index = 1; index < starts.length; index++) starts[index] = (starts[index] ?? 0) + (starts[index - 1] ?? 0)
  const order = new Int32Array(weight.length)
  weight.forEach((value, index) => {
    const slot = starts[level(value)] ?? 0
    order[slot] = index
    starts[level(value)] = slot + 1
  })
  return order
}

function number(forest: Forest, pixels: number): Regions {
  const names = new Map<number, number>()
  const of = new Int32Array(pixels)
  for (let pixel = 0; pixel < pixels; pixel++) {
    const root = forest.root(pixel)
    let name = names.get(root)
    if (name === undefined) {
      name = names.size
      names.set(root, name)
    }
    of[pixel] = name
  }
  return { count: names.size, of }
}
