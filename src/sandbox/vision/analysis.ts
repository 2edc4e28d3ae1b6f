import { blur, FEATURES, gradient, type Size } from './features.js'
import { type Border, difference, joinPatches, type Patch, type PatchGraph, toPatches } from './patches.js'
import type { Picture } from './photo.js'
import { JOIN_COSTS, type Proposal, proposalsOf } from './region-tree.js'
import { cutIntoRegions, type Regions, sumByRegion } from './regions.js'

/** Properties that distinguish an object from an arbitrary set of patches. */
interface Measures {
  /** Share of the picture, 0–1. */
  share: number
  /** Share of the outline on a visible colour step, 0–1. */
  edge: number
  /** Length of the outline compared to a disc of the same size, about 1 or more. */
  ruggedness: number
  /** Difference from the neighbouring patches. */
  contrast: number
  /** Share of the outline on the sides of the picture, 0–1. */
  rim: number
  /** Number of sides of the picture that it mostly covers. */
  sidesCovered: number
  /** Share of the bounding box, 0–1. */
  fill: number
}

export interface Candidate extends Proposal {
  measures: Measures
}

/** Analysis of a small picture, before a selection. */
export interface Analysis extends Size {
  rgb: Uint8Array
  /** `FEATURES` values of each pixel. */
  features: Float32Array
  regions: Regions
  graph: PatchGraph
  candidates: Candidate[]
  /** Share of each patch in the middle of the picture. The sum is 1. */
  middle: Float32Array
  /** Sum of the texture of each patch. */
  texture: Float32Array
  measure: (proposal: Proposal) => Candidate
}

/** Finds the patches of a small picture and the candidates for objects. */
export function analyse({ width, height, rgb }: Picture, lab: Float32Array): Analysis {
  const size = { width, height }
  const features = blur(lab, size, 1)
  const steps = gradient(features, size)
  const minPixels = Math.max(1, Math.round((width * height) / 3400))
  const regions = cutIntoRegions(features, size, { grain: 40, minPixels })
  const graph = toPatches({ ...size, features, steps, regions })
  const measure = createMeasure(graph, size)
  const candidates = JOIN_COSTS.flatMap((joinCost, tree) =>
    proposalsOf(graph, joinCost).slice(tree === 0 ? 0 : graph.patches.length),
  ).map(measure)
  // Strong texture separates objects in focus from a blurred background.
  const texture = blur(gradient(lab, size), size, 2, 2).map(step => 9 * Math.log2(1 + step))
  texture.forEach((value, pixel) => {
    features[FEATURES * pixel + 3] = value
  })
  const middle = middleShares(regions, size)
  return { ...size, rgb, features, regions, graph, candidates, middle, texture: sumByRegion(regions, texture), measure }
}

/**
 * Rates a set of patches as an object: about 0 for a good one, lower for others. `usualShare` is a
 * typical size.
 */
export function objectness(measures: Measures, usualShare = 0.14): number {
  const size = Math.log(Math.max(measures.share, 1e-4) / usualShare)
  return (
    0.6 * Math.log(measures.contrast + 0.05) +
    2.6 * Math.log(measures.edge + 0.02) -
    (size < 0 ? 0.12 : 0.2) * size * size -
    1.2 * measures.rim * measures.rim -
    6 * Math.max(0, measures.rim - 0.6) -
    0.25 * measures.sidesCovered -
    10 * Math.max(0, measures.share - 0.8) -
    0.5 * Math.log(measures.ruggedness) +
    0.5 * Math.log(measures.fill)
  )
}

/** Joins patches to a candidate. */
export function joinMembers({ graph, measure }: Analysis, members: readonly number[]): Candidate {
  const patch = members.flatMap(member => graph.patches[member] ?? []).reduce(joinPatches)
  return measure({ patch, members })
}

function createMeasure({ patches, borders }: PatchGraph, { width, height }: Size): Analysis['measure'] {
  const isMember = new Uint8Array(patches.length)
  const half = medianStrength(borders) ** 2
  return ({ patch, members }) => {
    for (const member of members) isMember[member] = 1
    let [length, visible] = [0, 0]
    const neighbours = new Set<number>()
    for (const member of members) {
      for (const [other, border] of borders[member] ?? []) {
        if (isMember[other]) continue
        const strength = (border.strength / border.length) ** 2
        length += border.length
        visible += (border.length * strength) / (strength + half)
        neighbours.add(other)
      }
    }
    for (const member of members) isMember[member] = 0
    const rim = patch.sides.reduce((sum, pixels) => sum + pixels)
    const [left = 0, right = 0, top = 0, bottom = 0] = patch.box
    const measures = {
      share: patch.pixels / (width * height),
      edge: length === 0 ? 0 : visible / length,
      ruggedness: (rim + length) / Math.sqrt(4 * Math.PI * patch.pixels),
      contrast: contrastWith(patch, patches, neighbours),
      rim: rim / Math.max(1, rim + length),
      sidesCovered: patch.sides.filter((pixels, side) => pixels > 0.6 * (side < 2 ? height : width)).length,
      fill: patch.pixels / ((right + left + 1) * (bottom + top + 1)),
    }
    return { patch, members, measures }
  }
}

/**
 * Returns the median strength of the borders, by length. A border of this strength counts as half
 * visible.
 */
function medianStrength(borders: Map<number, Border>[]): number {
  const each = borders.flatMap((lines, a) => [...lines].filter(([b]) => a < b).map(([, border]) => border))
  each.sort((p, q) => p.strength / p.length - q.strength / q.length)
  let rest = each.reduce((sum, border) => sum + border.length, 0) / 2
  const median = each.find(border => {
    rest -= border.length
    return rest <= 0
  })
  return median ? Math.min(Math.max(median.strength / median.length, 2), 12) : 2
}

function contrastWith(patch: Patch, patches: Patch[], neighbours: Set<number>): number {
  const around = { pixels: 0, histogram: new Float32Array(patch.histogram.length) }
  for (const index of neighbours) {
    const neighbour = patches[index]
    if (!neighbour) continue
    around.pixels += neighbour.pixels
    for (let bin = 0; bin < around.histogram.length; bin++)
      around.histogram[bin] = (around.histogram[bin] ?? 0) + (neighbour.histogram[bin] ?? 0)
  }
  return around.pixels === 0 ? 0 : difference(patch, around)
}

function middleShares(regions: Regions, { width, height }: Size): Float32Array {
  const weights = new Float32Array(regions.of.length).map((_, pixel) =>
    Math.exp(-(offCentre(pixel, { width, height }) ** 2) / 0.08),
  )
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return sumByRegion(regions, weights).map(weight => weight / total)
}

/** Returns the distance of a pixel from the centre. The sides of the picture are 0.5 away. */
export function offCentre(pixel: number, { width, height }: Size): number {
  const x = ((pixel % width) + 0.5) / width - 0.5
  const y = (Math.floor(pixel / width) + 0.5) / height - 0.5
  return Math.sqrt(x * x + y * y)
}
