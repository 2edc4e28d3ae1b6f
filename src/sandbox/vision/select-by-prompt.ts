import { type Analysis, type Candidate, joinMembers, objectness } from './analysis.js'
import { objectInFocus } from './focus.js'
import type { Patch } from './patches.js'
import { colourMatch, type Hints, readHints } from './prompt.js'
import { sumByRegion } from './regions.js'
import { maskOf } from './select-at-points.js'

/** Minimum size of another part of the same colour, compared to the object. */
const MIN_PART = 0.06
/**
 * Distance of other parts from the object, as a share of the picture's sides, and the share of a
 * part within it.
 */
const PART_DISTANCE = 0.2
const PART_OVERLAP = 0.6
/** Minimum share of the picture with a named colour. With less, the colour is ignored. */
const MIN_COLOUR = 0.003

/** Pixels of each patch that have a named colour, and their sum. */
interface ColourPixels {
  of: Float32Array
  total: number
}

/**
 * Selects the most prominent object that has the colours and the place in a prompt. Returns a mask
 * of 0 and 1.
 */
export function selectByPrompt(analysis: Analysis, prompt: string): Uint8Array {
  const hints = readHints(prompt)
  const mask = maskOf(analysis, bestFor(analysis, hints)?.members ?? [])
  return hints.isBackground && hints.colours.length === 0 ? mask.map(value => 1 - value) : mask
}

function bestFor(analysis: Analysis, hints: Hints): Candidate | undefined {
  const colour = colourPixels(analysis, hints)
  const coloured = colour ? colouredObjects(analysis, colour) : []
  let best: Candidate | undefined
  let most = Number.NEGATIVE_INFINITY
  for (const candidate of [...analysis.candidates, ...coloured]) {
    const score = fitness(analysis, candidate, hints, colour)
    if (score <= most) continue
    most = score
    best = candidate
  }
  if (colour && best) return withOtherParts(analysis, best, coloured)
  const hasPlace = hints.across !== undefined || hints.down !== undefined
  if (hasPlace || !best || best.measures.share > 0.1) return best
  return objectInFocus(analysis) ?? best
}

/** Adds nearby parts of the same colour, such as the other half of a jacket. */
function withOtherParts(analysis: Analysis, object: Candidate, coloured: readonly Candidate[]): Candidate {
  const margins = [analysis.width, analysis.width, analysis.height, analysis.height].map(side => PART_DISTANCE * side)
  const near = object.patch.box.map((most, side) => most + (margins[side] ?? 0))
  const parts = coloured.filter(
    ({ patch }) => patch.pixels > MIN_PART * object.patch.pixels && overlap(patch.box, near) > PART_OVERLAP,
  )
  return joinMembers(analysis, [...new Set([object, ...parts].flatMap(({ members }) => members))])
}

/** Returns the share of the first box that the second one covers. */
function overlap(box: Patch['box'], other: Patch['box']): number {
  const area = (sides: number[]) => {
    const [left = 0, right = 0, top = 0, bottom = 0] = sides
    return Math.max(0, left + right + 1) * Math.max(0, top + bottom + 1)
  }
  return area(box.map((most, side) => Math.min(most, other[side] ?? 0))) / area(box)
}

/** Rates a candidate: its objectness, its place and its colour. */
function fitness(analysis: Analysis, candidate: Candidate, hints: Hints, colour: ColourPixels | undefined): number {
  const { measures, members, patch } = candidate
  const usualShare = hints.isBackground && !colour ? undefined : hints.usualShare
  const penalty = 0.6 * measures.sidesCovered + 4 * Math.max(0, measures.share - 0.6)
  const score = objectness(measures, usualShare ?? 0.18) - (usualShare === undefined ? penalty : 0)
  const sum = (values: Float32Array) => members.reduce((total, member) => total + (values[member] ?? 0), 0)
  const matching = colour ? sum(colour.of) : 0
  const colourScore = colour
    ? 3 * Math.log(matching / patch.pixels + 0.05) + 1.2 * Math.log(matching / colour.total + 0.03)
    : 0
  const x = (patch.x / patch.pixels + 0.5) / analysis.width - 0.5
  const y = (patch.y / patch.pixels + 0.5) / analysis.height - 0.5
  if (hints.across === undefined && hints.down === undefined)
    return score + colourScore - 7 * (x * x + y * y) + 0.35 * Math.log(sum(analysis.middle) + 0.01)
  const offset = (value: number, place?: number) => (place === undefined ? 0.4 * value : value - 0.28 * place)
  return score + colourScore - 14 * (offset(x, hints.across) ** 2 + offset(y, hints.down) ** 2)
}

function colourPixels({ rgb, regions }: Analysis, { colours }: Hints): ColourPixels | undefined {
  const matches = new Float32Array(regions.of.length).map((_, pixel) => {
    const [red = 0, green = 0, blue = 0] = rgb.subarray(3 * pixel, 3 * pixel + 3)
    return Math.max(0, ...colours.map(colour => colourMatch(colour, red, green, blue)))
  })
  const of = sumByRegion(regions, matches)
  const total = of.reduce((sum, pixels) => sum + pixels, 0)
  return total === 0 || total < MIN_COLOUR * matches.length ? undefined : { of, total }
}

/** Joins neighbouring patches that mostly have a named colour. */
function colouredObjects(analysis: Analysis, colour: ColourPixels): Candidate[] {
  const { patches, borders } = analysis.graph
  const waiting = new Set(
    [...patches.keys()].filter(index => (colour.of[index] ?? 0) > 0.5 * (patches[index]?.pixels ?? 0)),
  )
  const objects: Candidate[] = []
  for (const start of waiting) {
    const members = [start]
    waiting.delete(start)
    for (const member of members)
      for (const other of borders[member]?.keys() ?? []) if (waiting.delete(other)) members.push(other)
    objects.push(joinMembers(analysis, members))
  }
  return objects
}
