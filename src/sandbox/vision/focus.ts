import { learnColours } from './colours.js'
import { divide, type Link } from './divide.js'
import { FEATURES } from './features.js'
import { type Analysis, type Candidate, toCandidate } from './objects.js'
import { PIXELS, X, Y } from './patches.js'

const ROUNDS = 3
/** Radius of each first guess, in halves of the picture's sides. */
const RADII = [0.6, 0.8, 0.95, 1.05]
/** Weight of a border pixel, compared to one pixel of evidence. */
const BORDER_WEIGHT = 6
/** Least difference in mean texture between an object in focus and a blurred background. */
const MIN_TEXTURE_STEP = 6

/**
 * Finds an object in focus in front of a blurred background, also one of many colours. Returns the
 * guess with the largest difference in texture, or none if no guess of a plausible size has one.
 */
export function objectInFocus(analysis: Analysis): Candidate | undefined {
  const texture = analysis.graph.patches.map(
    (patch, index) => (patch[PIXELS] ?? 0) * (analysis.means[FEATURES * index + 3] ?? 0),
  )
  const total = texture.reduce((sum, value) => sum + value, 0)
  let [best, most]: [Candidate | undefined, number] = [undefined, MIN_TEXTURE_STEP]
  for (const radius of RADII) {
    const members = centreAgainstRim(analysis, radius)
    if (members.length === 0) continue
    const guess = toCandidate(analysis, members)
    if (guess.share < 0.25 || guess.share > 0.8) continue
    const own = members.reduce((sum, member) => sum + (texture[member] ?? 0), 0)
    const step = (own / guess.share - (total - own) / (1 - guess.share)) / analysis.regions.of.length
    if (step > most) [best, most] = [guess, step]
  }
  return best
}

/** Finds the patches that look like the centre of the picture and not like its rim. */
function centreAgainstRim({ graph, means, width, height }: Analysis, radius: number): number[] {
  const pixels = Float32Array.from(graph.patches, patch => patch[PIXELS] ?? 0)
  const closeness = graph.patches.map(({ [PIXELS]: count = 0, [X]: x = 0, [Y]: y = 0 }) => {
    return radius - 2 * Math.hypot((x / count + 0.5) / width - 0.5, (y / count + 0.5) / height - 0.5)
  })
  const links = graph.borders.flatMap((borders, a) =>
    [...borders].map(([b, { length, strength }]): Link => {
      return { a, b, weight: (BORDER_WEIGHT * length) / (2 + 2 * (strength / length / 6) ** 2) }
    }),
  )
  let chosen: readonly boolean[] = closeness.map(value => value > 0)
  for (let round = 0; round < ROUNDS; round++) {
    const pixelsOn = (side: boolean) => pixels.map((count, patch) => (chosen[patch] === side ? count : 0))
    const evidence = learnColours(means, pixelsOn(true), pixelsOn(false))
    const votes = pixels.map((count, patch) => {
      return count * (Math.max(-4, Math.min(4, evidence(means, patch, patch))) + 2 * (closeness[patch] ?? 0))
    })
    chosen = [...divide(votes, links)].map(Boolean)
  }
  return [...chosen.keys()].filter(patch => chosen[patch])
}
