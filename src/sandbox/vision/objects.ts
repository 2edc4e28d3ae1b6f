import { blur, gradient, type Size } from './features.js'
import { addPatch, type Border, difference, type PatchGraph, PIXELS, SIDES, toPatches } from './patches.js'
import { type Proposal, proposalsOf } from './region-tree.js'
import { cutIntoRegions, type Regions } from './regions.js'

/** A proposal and its properties as an object. */
export interface Candidate extends Proposal {
  /** Share of the picture, 0–1. */
  share: number
  /** Resemblance to an object apart from its size: about 0 for a good one, lower for others. */
  shape: number
  /** Number of sides of the picture that it mostly covers. */
  sidesCovered: number
}

/** Analysis of a small picture, before a selection. */
export interface Analysis extends Size {
  rgb: Uint8Array
  lab: Float32Array
  /** Smooth `lab`. */
  features: Float32Array
  regions: Regions
  graph: PatchGraph
  /** A border of this mean gradient counts as half visible. */
  half: number
  candidates: Candidate[]
}

/** Finds the patches of a small picture and the candidates for objects. */
export function analyse({ width, height, rgb }: Size & { rgb: Uint8Array }, lab: Float32Array): Analysis {
  const size = { width, height }
  const features = blur(lab, size, 1)
  const regions = cutIntoRegions(features, size, 40, Math.max(1, Math.round((width * height) / 3400)))
  const graph = toPatches(size, regions, features, gradient(features, size))
  const analysis = { ...size, rgb, lab, features, regions, graph, half: meanStrength(graph.borders) }
  return { ...analysis, candidates: proposalsOf(graph).map(proposal => measure(analysis, proposal)) }
}

/** Rates a candidate as an object. `usualShare` is a typical size. */
export function objectness({ shape, share }: Candidate, usualShare = 0.14): number {
  const size = Math.log(Math.max(share, 1e-4) / usualShare)
  return shape - (size < 0 ? 0.12 : 0.2) * size * size - 10 * Math.max(0, share - 0.8)
}

type Surroundings = Pick<Analysis, 'graph' | 'half' | keyof Size>

function measure({ graph, half, width, height }: Surroundings, { members, patch }: Proposal): Candidate {
  const { patches, borders } = graph
  const isMember = new Set(members)
  const neighbours = new Set<number>()
  let [length, visible] = [0, 0]
  for (const member of members) {
    for (const [other, border] of borders[member] ?? []) {
      if (isMember.has(other)) continue
      const strength = (border.strength / border.length) ** 2
      length += border.length
      visible += (border.length * strength) / (strength + half ** 2)
      neighbours.add(other)
    }
  }
  const pixels = patch[PIXELS] ?? 0
  const sides = patch.subarray(SIDES, SIDES + 4)
  const rim = sides.reduce((sum, count) => sum + count)
  const rimShare = rim / Math.max(1, rim + length)
  const sidesCovered = sides.filter((count, side) => count > 0.6 * (side < 2 ? height : width)).length
  const around = new Float64Array(patch.length)
  for (const other of neighbours) addPatch(around, patches[other])
  const contrast = neighbours.size === 0 ? 0 : difference(patch, around)
  const [left = 0, right = 0, top = 0, bottom = 0] = patch
  const fill = pixels / ((right + left + 1) * (bottom + top + 1))
  const shape =
    0.6 * Math.log(contrast + 0.05) +
    2.6 * Math.log((length === 0 ? 0 : visible / length) + 0.02) -
    1.2 * rimShare * rimShare -
    0.5 * Math.log((rim + length) / Math.sqrt(4 * Math.PI * pixels)) +
    0.5 * Math.log(fill)
  return { members, patch, share: pixels / (width * height), shape, sidesCovered }
}

/** Returns the mean gradient along the borders, within limits. */
function meanStrength(borders: PatchGraph['borders']): number {
  const all = borders.flatMap(lines => [...lines.values()])
  const sum = (key: keyof Border) => all.reduce((total, border) => total + border[key], 0)
  return Math.min(Math.max(sum('strength') / Math.max(1, sum('length')), 2), 12)
}
