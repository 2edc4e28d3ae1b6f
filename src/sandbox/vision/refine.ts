import { type Features, learnLook, type Surprise } from './colour-model.js'
import { type LabPicture, squaredDistance } from './lab.js'
import { Cut } from './max-flow.js'

/** Pixels that are known: 1 = inside, -1 = outside, 0 = to be found out. */
export type Known = Int8Array

export interface Scene {
  lab: LabPicture
  features: Features
}

const SMOOTHNESS = 40
const UNIT = 64
const MOST_PULL = 30

/**
 * Moves the outline of a rough mask to where the colours really change: learns the look of both sides, then finds the cheapest
 * outline within `reach` pixels of the rough one (GrabCut: Rother, Kolmogorov and Blake, 2004). `known` pixels stay as they are.
 */
export function refine(scene: Scene, rough: Uint8Array, known: Known, reach: number): Uint8Array {
  const { width, height } = scene.lab
  const deep = distanceInside(rough, width, height)
  const far = distanceInside(
    rough.map(value => 1 - value),
    width,
    height,
  )
  const fixed = known.map((value, pixel) => {
    if (value) return value
    if (rough[pixel]) return (deep[pixel] ?? 0) > reach ? 1 : 0
    return (far[pixel] ?? 0) > reach ? -1 : 0
  })
  const nearby = (distance: number) => distance > 0 && distance < reach * 5
  const inner = learnLook(scene.features, rough)
  const outer = learnLook(
    scene.features,
    rough.map((_, pixel) => (nearby(far[pixel] ?? 0) ? 1 : 0)),
  )
  return cheapestOutline(scene, fixed, { inner, outer })
}

function cheapestOutline(scene: Scene, fixed: Int8Array, looks: { inner: Surprise; outer: Surprise }): Uint8Array {
  const node = new Int32Array(fixed.length).fill(-1)
  let nodes = 0
  fixed.forEach((value, pixel) => {
    if (value === 0) node[pixel] = nodes++
  })
  const cut = new Cut(nodes, 4 * nodes)
  fixed.forEach((value, pixel) => {
    if (value !== 0) return
    const pull = looks.outer(pixel) - looks.inner(pixel)
    cut.pull(node[pixel] ?? 0, UNIT * Math.max(-MOST_PULL, Math.min(MOST_PULL, pull)))
  })
  const sharpness = 1 / (2 * meanSquaredStep(scene.lab))
  eachPair(scene.lab, (p, q, length) => {
    const [a, b] = [node[p] ?? -1, node[q] ?? -1]
    if (a < 0 && b < 0) return
    const strength = ((UNIT * SMOOTHNESS) / length) * Math.exp(-sharpness * squaredDistance(scene.lab, p, q))
    if (a >= 0 && b >= 0) cut.link(a, b, strength)
    else if (a >= 0) cut.pull(a, strength * (fixed[q] ?? 0))
    else cut.pull(b, strength * (fixed[p] ?? 0))
  })
  const inside = cut.solve()
  const decided = new Uint8Array(fixed.length)
  return decided.map((_, pixel) => (fixed[pixel] === 0 ? (inside[node[pixel] ?? 0] ?? 0) : fixed[pixel] === 1 ? 1 : 0))
}

/** Visits every pair of neighbouring pixels once: beside, below, and both diagonals. */
function eachPair({ width, height }: LabPicture, visit: (p: number, q: number, length: number) => void): void {
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const p = y * width + x
      if (x + 1 < width) visit(p, p + 1, 1)
      if (y + 1 >= height) continue
      visit(p, p + width, 1)
      if (x + 1 < width) visit(p, p + width + 1, Math.SQRT2)
      if (x > 0) visit(p, p + width - 1, Math.SQRT2)
    }
  }
}

function meanSquaredStep(lab: LabPicture): number {
  let sum = 0
  let count = 0
  for (let pixel = 0; pixel + 1 < lab.lightness.length; pixel++) {
    if ((pixel + 1) % lab.width === 0) continue
    sum += squaredDistance(lab, pixel, pixel + 1)
    count++
  }
  return Math.max(1, sum / Math.max(1, count))
}

/** How far each pixel of the mask is from its outline, in city blocks; 0 outside. The picture's rim is no outline. */
function distanceInside(mask: Uint8Array, width: number, height: number): Uint16Array {
  const far = 60_000
  const distance = new Uint16Array(mask.length).map((_, pixel) => (mask[pixel] ? far : 0))
  const relax = (pixel: number, other: number) => {
    const next = (distance[other] ?? 0) + 1
    if ((distance[pixel] ?? 0) > next) distance[pixel] = next
  }
  for (let pixel = 0; pixel < distance.length; pixel++) {
    if (pixel % width > 0) relax(pixel, pixel - 1)
    if (pixel >= width) relax(pixel, pixel - width)
  }
  for (let pixel = distance.length - 1; pixel >= 0; pixel--) {
    if (pixel % width < width - 1) relax(pixel, pixel + 1)
    if (pixel < width * (height - 1)) relax(pixel, pixel + width)
  }
  return distance
}
