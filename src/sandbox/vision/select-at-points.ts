import type { Point } from '../../contracts/types.js'
import { type Analysis, type Candidate, objectness } from './analysis.js'
import type { Size } from './features.js'
import { objectInFocus } from './focus.js'
import { difference } from './patches.js'
import { sumByRegion } from './regions.js'

/** Penalty for the difference between a candidate and the patch at the point. */
const DIFFERENCE_WEIGHT = 0.12
/** A candidate with a lower score is unlikely to be an object. */
const MIN_SCORE = -1.1
/**
 * Several points select one common object if its score is at most this much below the lowest of the
 * separate ones.
 */
const COMMON_TOLERANCE = 0.4
/** A removed point removes an object only up to this share of the selection. */
const MAX_REMOVED = 0.7

type ScoredCandidate = Candidate & { score: number }

/**
 * Selects the object at each point, or one object that contains all points. Returns a mask of 0 and
 * 1.
 */
export function selectAtPoints(analysis: Analysis, points: readonly Point[]): Uint8Array {
  const patches = points.map(point => patchAt(analysis, point))
  const separate = patches.flatMap(patch => objectWith(analysis, patch) ?? [])
  const common = points.length > 1 ? bestWith(analysis, patches) : undefined
  const lowest = Math.min(...separate.map(({ score }) => score))
  const chosen = common && common.score > lowest - COMMON_TOLERANCE ? [common] : separate
  return maskOf(
    analysis,
    chosen.flatMap(({ members }) => members),
  )
}

/**
 * Removes the object at each removed point from a mask, in place. The object contains none of the
 * kept points. Without such an object, removes a disc, except pixels that are nearer to a kept
 * point.
 */
export function removeAtPoints(
  analysis: Analysis,
  mask: Uint8Array,
  { removed, kept }: { removed: readonly Point[]; kept: readonly Point[] },
): void {
  const keptPatches = new Set(kept.map(point => patchAt(analysis, point)))
  for (const point of removed) {
    if (!mask[pixelAt(analysis, point)]) continue
    const selected = sumByRegion(analysis.regions, mask)
    const total = selected.reduce((sum, pixels) => sum + pixels, 0)
    const isPart = ({ members }: Candidate) =>
      !members.some(member => keptPatches.has(member)) &&
      members.reduce((sum, member) => sum + (selected[member] ?? 0), 0) <= MAX_REMOVED * total
    const object = bestWith(analysis, [patchAt(analysis, point)], isPart)
    const members = new Set(object?.members)
    const radius = Math.max(2, 0.25 * Math.sqrt(total))
    const distance = (pixel: number, [x, y]: Point) =>
      Math.hypot((pixel % analysis.width) + 0.5 - x, Math.floor(pixel / analysis.width) + 0.5 - y)
    analysis.regions.of.forEach((region, pixel) => {
      const off = distance(pixel, point)
      const isNear = () => off <= radius && kept.every(other => off <= distance(pixel, other))
      if (object ? members.has(region) : isNear()) mask[pixel] = 0
    })
  }
}

/** Returns the mask of some patches. */
export function maskOf({ regions }: Analysis, members: readonly number[]): Uint8Array {
  const chosen = new Set(members)
  return new Uint8Array(regions.of.map(region => (chosen.has(region) ? 1 : 0)))
}

/** Returns the pixel at a point. Points on the far sides belong to the last pixel. */
export function pixelAt({ width, height }: Size, [x, y]: Point): number {
  return Math.min(height - 1, Math.floor(y)) * width + Math.min(width - 1, Math.floor(x))
}

/** Returns the best candidate with a patch, or the object in focus if the best one is poor. */
function objectWith(analysis: Analysis, patch: number): ScoredCandidate | undefined {
  const best = bestWith(analysis, [patch])
  if (!best || best.score > MIN_SCORE) return best
  const focused = objectInFocus(analysis)
  return focused?.members.includes(patch) ? { ...focused, score: best.score } : best
}

function bestWith(
  { graph, candidates }: Analysis,
  patches: readonly number[],
  isAllowed: (candidate: Candidate) => boolean = () => true,
): ScoredCandidate | undefined {
  const selected = graph.patches[patches[0] ?? 0]
  let best: ScoredCandidate | undefined
  for (const candidate of candidates) {
    if (!selected || !patches.every(patch => candidate.members.includes(patch))) continue
    const score = objectness(candidate.measures) - DIFFERENCE_WEIGHT * difference(candidate.patch, selected)
    if (score > (best?.score ?? Number.NEGATIVE_INFINITY) && isAllowed(candidate)) best = { ...candidate, score }
  }
  return best
}

function patchAt(analysis: Analysis, point: Point): number {
  return analysis.regions.of[pixelAt(analysis, point)] ?? 0
}
