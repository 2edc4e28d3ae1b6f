import { type Analysis, type Candidate, joinMembers, offCentre } from './analysis.js'
import { learnColours } from './colour-model.js'
import { MinCut } from './min-cut.js'
import { sumByRegion } from './regions.js'

const ROUNDS = 3
/** Radius of each first guess, in halves of the picture's sides. */
const RADII = [0.6, 0.8, 0.95, 1.05]
/** Weight of a border pixel, compared to one pixel of evidence. */
const BORDER_WEIGHT = 12
/** Evidence uses one pixel of so many. An odd number samples every column. */
const SAMPLE_STEP = 11
/** Least difference in mean texture between an object in focus and a blurred background. */
const MIN_TEXTURE_STEP = 6

/**
 * Finds an object in focus in front of a blurred background, also one of many colours. Returns the
 * guess with the largest difference in texture, or none if no guess of a plausible size has one.
 */
export function objectInFocus(analysis: Analysis): Candidate | undefined {
  let best: Candidate | undefined
  let most = MIN_TEXTURE_STEP
  for (const radius of RADII) {
    const members = centreAgainstRim(analysis, radius)
    if (members.length === 0) continue
    const guess = joinMembers(analysis, members)
    const step = textureStep(analysis, guess)
    if (step < most || guess.measures.share < 0.25 || guess.measures.share > 0.8) continue
    most = step
    best = guess
  }
  return best
}

/** Returns the difference in mean texture between an object and the rest of the picture. */
function textureStep({ regions, texture }: Analysis, { members, patch }: Candidate): number {
  const total = texture.reduce((sum, value) => sum + value, 0)
  const own = members.reduce((sum, member) => sum + (texture[member] ?? 0), 0)
  return own / patch.pixels - (total - own) / Math.max(1, regions.of.length - patch.pixels)
}

/** Finds the patches that look like the centre of the picture and not like its rim. */
function centreAgainstRim({ graph, regions, features, ...size }: Analysis, radius: number): number[] {
  const closeness = new Float32Array(regions.of.length).map((_, pixel) => radius - 2 * offCentre(pixel, size))
  let inside = new Uint8Array(closeness.map(value => (value > 0 ? 1 : 0)))
  let chosen: Uint8Array = new Uint8Array()
  for (let round = 0; round < ROUNDS; round++) {
    const inner = learnColours(features, inside)
    const outer = learnColours(
      features,
      inside.map(value => 1 - value),
    )
    const evidence = closeness.map((value, pixel) => {
      if (pixel % SAMPLE_STEP !== 0) return 0
      return SAMPLE_STEP * (Math.max(-4, Math.min(4, outer(pixel) - inner(pixel))) + 2 * value)
    })
    chosen = divide(graph.borders, sumByRegion(regions, evidence))
    inside = inside.map((_, pixel) => chosen[regions.of[pixel] ?? 0] ?? 0)
  }
  return [...chosen.keys()].filter(index => chosen[index])
}

/** Divides the patches by their evidence. Borders without a visible edge are expensive. */
function divide(borders: Analysis['graph']['borders'], evidence: Float32Array): Uint8Array {
  const cut = new MinCut(borders.length)
  borders.forEach((lines, a) => {
    cut.tie(a, 8 * (evidence[a] ?? 0))
    for (const [b, { length, strength }] of lines)
      if (a < b) cut.link(a, b, (8 * BORDER_WEIGHT * length) / (1 + (strength / length / 6) ** 2))
  })
  return cut.solve()
}
