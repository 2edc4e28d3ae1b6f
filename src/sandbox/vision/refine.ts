import type { Analysis } from './analysis.js'
import { learnColours } from './colour-model.js'
import { forEachPair, type Size, squaredDistance } from './features.js'
import { MinCut } from './min-cut.js'

/** Weight of the outline compared to the colours. */
const SMOOTHNESS = 40
/** Scale of the integer costs. */
const SCALE = 64
const MAX_EVIDENCE = 30

/**
 * Moves the outline of a rough mask to the nearest change of colour, by at most `reach` pixels
 * (GrabCut: Rother, Kolmogorov and Blake, 2004). Learns the colours of both sides and finds the
 * cheapest outline. In `known`, pixels with 1 stay inside and pixels with −1 outside.
 */
export function refine(analysis: Analysis, rough: Uint8Array, known: Int8Array, reach: number): Uint8Array {
  const { features } = analysis
  const outside = rough.map(value => 1 - value)
  const depth = distancesInside(rough, analysis)
  const gap = distancesInside(outside, analysis)
  const side = known.map(
    (value, pixel) => value || ((depth[pixel] ?? 0) > reach ? 1 : (gap[pixel] ?? 0) > reach ? -1 : 0),
  )
  const inner = learnColours(features, rough)
  const outer = learnColours(
    features,
    outside.map((value, pixel) => ((gap[pixel] ?? 0) < 5 * reach ? value : 0)),
  )
  const cut = new MinCut(side.length)
  side.forEach((value, pixel) => {
    const evidence = value === 0 ? outer(pixel) - inner(pixel) : 0
    cut.tie(pixel, SCALE * Math.max(-MAX_EVIDENCE, Math.min(MAX_EVIDENCE, evidence)))
  })
  const sharpness = 1 / (2 * meanSquaredStep(analysis))
  forEachPair(analysis, (p, q, distance) => {
    const [a, b] = [side[p] ?? 0, side[q] ?? 0]
    if (a !== 0 && b !== 0) return
    const cost = ((SCALE * SMOOTHNESS) / distance) * Math.exp(-sharpness * squaredDistance(features, p, q))
    if (a === 0 && b === 0) cut.link(p, q, cost)
    else cut.tie(a === 0 ? p : q, cost * (a + b))
  })
  const inside = cut.solve()
  return inside.map((value, pixel) => (side[pixel] === 0 ? value : side[pixel] === 1 ? 1 : 0))
}

function meanSquaredStep({ width, height, features }: Analysis): number {
  let sum = 0
  for (let pixel = 1; pixel < width * height; pixel++)
    if (pixel % width > 0) sum += squaredDistance(features, pixel - 1, pixel)
  return Math.max(1, sum / Math.max(1, (width - 1) * height))
}

/** Returns the city-block distance of each pixel to the nearest 0 in the mask. */
function distancesInside(mask: Uint8Array, { width, height }: Size): Uint16Array {
  const distances = new Uint16Array(mask).map(value => 60_000 * value)
  const relax = (pixel: number, neighbour: number) => {
    const distance = (distances[neighbour] ?? 0) + 1
    if ((distances[pixel] ?? 0) > distance) distances[pixel] = distance
  }
  for (let pixel = 0; pixel < width * height; pixel++) {
    if (pixel % width > 0) relax(pixel, pixel - 1)
    if (pixel >= width) relax(pixel, pixel - width)
  }
  for (let pixel = width * height - 1; pixel >= 0; pixel--) {
    if (pixel % width < width - 1) relax(pixel, pixel + 1)
    if (pixel < width * (height - 1)) relax(pixel, pixel + width)
  }
  return distances
}
