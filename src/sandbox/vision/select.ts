import type { Point } from '../../contracts/types.js'
import type { Size } from './features.js'
import { objectInFocus } from './focus.js'
import { type Analysis, type Candidate, objectness } from './objects.js'
import { difference, type Patch, PIXELS, X, Y } from './patches.js'
import { colourMatch, type Hints, readHints } from './prompt.js'
import { sumByRegion } from './regions.js'

/** Penalty for the difference between a candidate and the patch at the point. */
const DIFFERENCE_WEIGHT = 0.12
/** A candidate with a lower score is unlikely to be an object. */
const MIN_SCORE = -1.1
/** A common object of several points may score this much less than the worst separate one. */
const COMMON_TOLERANCE = 0.4
/** A removed point removes an object only up to this share of the selection. */
const MAX_REMOVED = 0.7
/** Minimum share of the picture with a named colour. With less, the colour is ignored. */
const MIN_COLOUR = 0.003
/** Maximum distance of other parts of the same colour, compared to the size of the object. */
const PART_DISTANCE = 2

type ScoredCandidate = Candidate & { score: number }

/** Pixels of each patch that have a named colour, and their sum. */
interface ColourPixels {
  of: Float32Array
  total: number
}

/** Selects the object at each point, or one object with all points, as a mask of 0 and 1. */
export function selectAtPoints(analysis: Analysis, points: readonly Point[]): Uint8Array {
  const patches = points.map(point => patchAt(analysis, point))
  const separate = patches.flatMap(patch => {
    const best = bestWith(analysis, [patch])
    if (!best || best.score > MIN_SCORE) return best ?? []
    const members = objectInFocus(analysis)
    return members?.includes(patch) ? { ...best, members } : best
  })
  const common = points.length > 1 ? bestWith(analysis, patches) : undefined
  const lowest = Math.min(...separate.map(({ score }) => score))
  return maskOf(analysis, common && common.score > lowest - COMMON_TOLERANCE ? [common] : separate)
}

/**
 * Removes the object at each removed point from a mask, in place. If all objects there contain a
 * kept point, removes a disc, except pixels that are nearer to a kept point.
 */
export function removeAtPoints(
  analysis: Analysis,
  mask: Uint8Array,
  removed: readonly Point[],
  kept: readonly Point[],
): void {
  const keptPatches = kept.map(point => patchAt(analysis, point))
  for (const point of removed) {
    if (!mask[pixelAt(analysis, point)]) continue
    const selected = sumByRegion(analysis.regions, mask)
    const total = selected.reduce((sum, pixels) => sum + pixels, 0)
    const isPart = ({ members }: Candidate) =>
      !keptPatches.some(patch => members.includes(patch)) && sumOf(selected, members) <= MAX_REMOVED * total
    const object = bestWith(analysis, [patchAt(analysis, point)], isPart)
    const radius = Math.max(2, 0.25 * Math.sqrt(total))
    analysis.regions.of.forEach((region, pixel) => {
      const off = distance(analysis, pixel, point)
      const isNear = () => off <= radius && kept.every(other => off <= distance(analysis, pixel, other))
      if (object ? object.members.includes(region) : isNear()) mask[pixel] = 0
    })
  }
}

/** Selects the most prominent object of the colours and place in a prompt, as a mask of 0 and 1. */
export function selectByPrompt(analysis: Analysis, prompt: string): Uint8Array {
  const hints = readHints(prompt)
  const colour = colourPixels(analysis, hints)
  const best = bestOf(analysis.candidates, candidate => fitness(analysis, candidate, hints, colour))
  if (!best) return maskOf(analysis, [])
  if (colour) return maskOf(analysis, [best, ...otherParts(analysis, best.patch, colour)])
  const isObject = hints.across !== undefined || hints.down !== undefined || best.share > 0.1
  const members = (isObject ? undefined : objectInFocus(analysis)) ?? best.members
  const mask = maskOf(analysis, [{ members }])
  return hints.isBackground && hints.colours.length === 0 ? mask.map(value => 1 - value) : mask
}

/** Returns the pixel at a point. Points on the far sides belong to the last pixel. */
export function pixelAt({ width, height }: Size, [x, y]: Point): number {
  return Math.min(height - 1, Math.floor(y)) * width + Math.min(width - 1, Math.floor(x))
}

/** Returns the distance of the centre of a pixel from a point. */
export function distance({ width }: Size, pixel: number, [x, y]: Point): number {
  return Math.hypot((pixel % width) + 0.5 - x, Math.floor(pixel / width) + 0.5 - y)
}

function patchAt(analysis: Analysis, point: Point): number {
  return analysis.regions.of[pixelAt(analysis, point)] ?? 0
}

function maskOf({ regions }: Analysis, objects: readonly Pick<Candidate, 'members'>[]): Uint8Array {
  const chosen = new Set(objects.flatMap(({ members }) => members))
  return new Uint8Array(regions.of.map(region => (chosen.has(region) ? 1 : 0)))
}

function sumOf(values: Float32Array, members: readonly number[]): number {
  return members.reduce((sum, member) => sum + (values[member] ?? 0), 0)
}

/** Returns the best allowed candidate that contains some patches. */
function bestWith(
  { graph, candidates }: Analysis,
  patches: readonly number[],
  isAllowed: (candidate: Candidate) => boolean = () => true,
): ScoredCandidate | undefined {
  const selected = graph.patches[patches[0] ?? 0]
  if (!selected) return undefined
  return bestOf(
    candidates.filter(each => patches.every(patch => each.members.includes(patch)) && isAllowed(each)),
    candidate => objectness(candidate) - DIFFERENCE_WEIGHT * difference(candidate.patch, selected),
  )
}

function bestOf(
  candidates: readonly Candidate[],
  scoreOf: (candidate: Candidate) => number,
): ScoredCandidate | undefined {
  const scored = candidates.map(candidate => ({ ...candidate, score: scoreOf(candidate) }))
  return scored.length === 0 ? undefined : scored.reduce((best, each) => (each.score > best.score ? each : best))
}

/** Rates a candidate: its objectness, its place and its colour. */
function fitness(analysis: Analysis, candidate: Candidate, hints: Hints, colour: ColourPixels | undefined): number {
  const { patch, members, share, sidesCovered } = candidate
  const { across, down, isBackground } = hints
  const usualShare = isBackground && !colour ? undefined : hints.usualShare
  let score = objectness(candidate, usualShare ?? 0.18)
  if (usualShare === undefined) score -= 0.6 * sidesCovered + 4 * Math.max(0, share - 0.6)
  if (colour) {
    const matching = sumOf(colour.of, members)
    score += 3 * Math.log(matching / (patch[PIXELS] ?? 0) + 0.05) + 1.2 * Math.log(matching / colour.total + 0.03)
  }
  const [x, y] = centreOf(patch)
  const off = { x: (x + 0.5) / analysis.width - 0.5, y: (y + 0.5) / analysis.height - 0.5 }
  if (across === undefined && down === undefined) {
    return score - 7 * (off.x ** 2 + off.y ** 2) + 0.35 * Math.log(share + 0.01)
  }
  const offset = (value: number, place?: number) => (place === undefined ? 0.4 * value : value - 0.28 * place)
  return score - 14 * (offset(off.x, across) ** 2 + offset(off.y, down) ** 2)
}

function colourPixels({ rgb, regions }: Analysis, { colours }: Hints): ColourPixels | undefined {
  if (colours.length === 0) return undefined
  const matches = new Float32Array(regions.of.length).map((_, pixel) => {
    const [red = 0, green = 0, blue = 0] = rgb.subarray(3 * pixel, 3 * pixel + 3)
    return Math.max(...colours.map(colour => colourMatch(colour, red, green, blue)))
  })
  const of = sumByRegion(regions, matches)
  const total = of.reduce((sum, pixels) => sum + pixels, 0)
  return total > MIN_COLOUR * matches.length ? { of, total } : undefined
}

/** Finds nearby patches of the same colour, such as the other half of a jacket. */
function otherParts({ graph, candidates }: Analysis, object: Patch, colour: ColourPixels): Candidate[] {
  const [x, y] = centreOf(object)
  return candidates.slice(0, graph.patches.length).filter(({ patch }, index) => {
    const [otherX, otherY] = centreOf(patch)
    const isNear = Math.hypot(otherX - x, otherY - y) < PART_DISTANCE * Math.sqrt(object[PIXELS] ?? 0)
    return isNear && (colour.of[index] ?? 0) > 0.5 * (patch[PIXELS] ?? 0)
  })
}

function centreOf(patch: Patch): [x: number, y: number] {
  const pixels = patch[PIXELS] ?? 1
  return [(patch[X] ?? 0) / pixels, (patch[Y] ?? 0) / pixels]
}
