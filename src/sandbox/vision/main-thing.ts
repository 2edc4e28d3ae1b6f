import { learnLook } from './colour-model.js'
import { Cut } from './max-flow.js'
import { joinPatches, type Patch } from './patches.js'
import type { Candidate, WorkPicture } from './work-picture.js'

const ROUNDS = 3
/** Distances from the middle, in halves of the picture's sides, within which the thing is first looked for. */
const REACHES = [0.6, 0.8, 0.95, 1.05]
/** How much a pixel counts for parting two patches along one pixel of their line. */
const TIE = 12
/** Looks at one pixel of so many; odd, so that no column is passed over. */
const EVERY = 11
/** Difference of texture (see `WorkPicture.features`) that tells focus from blur. */
const IN_FOCUS = 6

/**
 * Guesses the main thing of a picture as a whole, where it is made of many colours: what looks like the middle and not like the rim.
 * Answers a candidate for each of some guesses at its size.
 */
function mainThings(picture: WorkPicture): Candidate[] {
  const distance = distanceFromMiddle(picture)
  return REACHES.flatMap(reach => {
    const members = middleAgainstRim(picture, distance, reach)
    const patch = joined(picture, members)
    return patch ? [{ patch, members, measures: picture.measure({ patch, members }) }] : []
  })
}

/**
 * The main thing where a photo shows at a glance which it is: sharp before a blurred background. Of the guesses that are in focus while
 * the rest is not, the one that tells them apart best; a small one would be a detail, a huge one no thing at all.
 */
export function thingInFocus(picture: WorkPicture): Candidate | undefined {
  let best: Candidate | undefined
  let most = IN_FOCUS
  for (const guess of mainThings(picture)) {
    const sharper = sharperThanTheRest(picture, guess.members)
    if (sharper < most || guess.measures.share < 0.25 || guess.measures.share > 0.8) continue
    most = sharper
    best = guess
  }
  return best
}

function sharperThanTheRest(picture: WorkPicture, members: Int32Array): number {
  const chosen = new Set(members)
  const mean = (wanted: boolean) => {
    let sum = 0
    let pixels = 0
    picture.graph.patches.forEach((patch, index) => {
      if (chosen.has(index) !== wanted) return
      sum += picture.busyness[index] ?? 0
      pixels += patch.pixels
    })
    return sum / Math.max(1, pixels)
  }
  return mean(true) - mean(false)
}

function middleAgainstRim(picture: WorkPicture, distance: Float32Array, reach: number): Int32Array {
  let inside = new Uint8Array(distance.length).map((_, pixel) => ((distance[pixel] ?? 0) < reach ? 1 : 0))
  let members = new Int32Array()
  for (let round = 0; round < ROUNDS; round++) {
    const inner = learnLook(picture.features, inside)
    const outer = learnLook(
      picture.features,
      inside.map(value => 1 - value),
    )
    const pull = new Float32Array(picture.regions.count)
    for (let pixel = 0; pixel < distance.length; pixel += EVERY) {
      const region = picture.regions.of[pixel] ?? 0
      const evidence = Math.max(-4, Math.min(4, outer(pixel) - inner(pixel)))
      pull[region] = (pull[region] ?? 0) + EVERY * (evidence + 2 * (reach - (distance[pixel] ?? 0)))
    }
    const chosen = split(picture, pull)
    inside = inside.map((_, pixel) => chosen[picture.regions.of[pixel] ?? 0] ?? 0)
    members = Int32Array.from(picture.graph.patches.keys()).filter(index => chosen[index])
  }
  return members
}

/** The cheapest way to part the patches: by their own pull, and dearly where no edge is between them. */
function split(picture: WorkPicture, pull: Float32Array): Uint8Array {
  const { borders } = picture.graph
  const cut = new Cut(
    borders.length,
    borders.reduce((sum, lines) => sum + lines.size, 0),
  )
  borders.forEach((lines, a) => {
    cut.pull(a, 8 * (pull[a] ?? 0))
    for (const [b, line] of lines) {
      if (a < b) cut.link(a, b, (8 * TIE * line.length) / (1 + (line.strength / line.length / 6) ** 2))
    }
  })
  return cut.solve()
}

function distanceFromMiddle({ width, height }: WorkPicture): Float32Array {
  return new Float32Array(width * height).map((_, pixel) => {
    const x = ((pixel % width) + 0.5) / width - 0.5
    const y = (Math.floor(pixel / width) + 0.5) / height - 0.5
    return 2 * Math.sqrt(x * x + y * y)
  })
}

function joined(picture: WorkPicture, members: Int32Array): Patch | undefined {
  let all: Patch | undefined
  for (const member of members) {
    const patch = picture.graph.patches[member]
    if (patch) all = all ? joinPatches(all, patch) : patch
  }
  return all
}
