import type { Point } from '../../segment/types.js'
import { thingInFocus } from './main-thing.js'
import { likeness } from './measures.js'
import { difference } from './patches.js'
import type { Candidate, WorkPicture } from './work-picture.js'

/** How much it speaks against a candidate that it looks unlike the patch that was clicked. */
const UNLIKE = 0.12
/** A score below this is a guess rather than a thing. */
const POOR = -1.1
/** Several clicks mean one thing rather than several when that thing scores at most so much less than the weakest of them. */
const TOGETHER = 0.4
/** Taking a thing away may take at most this share of the selection; else only the surroundings of the point go. */
const MOST_TAKEN = 0.7

/** Selects the thing under each point, or one thing that holds them all where there is one. Answers a mask of 0 and 1. */
export function selectAtPoints(picture: WorkPicture, points: readonly Point[]): Uint8Array {
  const patches = points.map(point => patchAt(picture, point))
  const each = patches.flatMap(patch => thingWith(picture, patch) ?? [])
  const one = points.length > 1 ? bestWith(picture, patches) : undefined
  const weakest = Math.min(...each.map(({ score }) => score))
  const chosen = new Set((one && one.score > weakest - TOGETHER ? [one] : each).flatMap(({ members }) => [...members]))
  return Uint8Array.from(picture.regions.of, region => (chosen.has(region) ? 1 : 0))
}

/**
 * Takes what lies under each removed point out of a mask: the likeliest thing that holds it and none of the kept points.
 * Where no such thing can be told apart, what is nearer to the removed point than to any kept one, within a disc.
 */
export function takeAway(
  picture: WorkPicture,
  mask: Uint8Array,
  marks: { removed: readonly Point[]; kept: readonly Point[] },
): void {
  const kept = new Set(marks.kept.map(point => patchAt(picture, point)))
  for (const point of marks.removed) {
    if (!mask[pixelAt(picture, point)]) continue
    const thing = bestWith(picture, [patchAt(picture, point)], candidate => isPart(picture, mask, candidate, kept))
    const members = new Set(thing?.members)
    const nearby = discAround(picture, mask, point, marks.kept)
    mask.forEach((value, pixel) => {
      const goes = thing ? members.has(picture.regions.of[pixel] ?? 0) : nearby(pixel)
      if (value && goes) mask[pixel] = 0
    })
  }
}

/** The pixel of the small picture that a point falls on. */
export function pixelAt({ width, height }: { width: number; height: number }, [x, y]: Point): number {
  const column = Math.min(width - 1, Math.max(0, Math.floor(x)))
  const row = Math.min(height - 1, Math.max(0, Math.floor(y)))
  return row * width + column
}

/** The best candidate with a patch; where even that is a poor one, the thing in focus if the patch belongs to it. */
function thingWith(picture: WorkPicture, patch: number): Scored | undefined {
  const best = bestWith(picture, [patch])
  if (!best || best.score > POOR) return best
  const focused = thingInFocus(picture)
  return focused?.members.includes(patch) ? { ...focused, score: best.score } : best
}

type Scored = Candidate & { score: number }

function bestWith(
  picture: WorkPicture,
  patches: readonly number[],
  admits: (candidate: Candidate) => boolean = () => true,
): Scored | undefined {
  const clicked = picture.graph.patches[patches[0] ?? 0]
  let best: Scored | undefined
  for (const candidate of picture.candidates) {
    if (!patches.every(patch => candidate.members.includes(patch))) continue
    const unlike = clicked ? difference(candidate.patch, clicked) : 0
    const score = likeness(candidate.measures) - UNLIKE * unlike
    if ((!best || score > best.score) && admits(candidate)) best = { ...candidate, score }
  }
  return best
}

function isPart(picture: WorkPicture, mask: Uint8Array, candidate: Candidate, kept: ReadonlySet<number>): boolean {
  if (candidate.members.some(member => kept.has(member))) return false
  const members = new Set(candidate.members)
  let selected = 0
  let taken = 0
  mask.forEach((value, pixel) => {
    selected += value
    if (value && members.has(picture.regions.of[pixel] ?? 0)) taken++
  })
  return taken <= MOST_TAKEN * selected
}

function discAround(picture: WorkPicture, mask: Uint8Array, point: Point, kept: readonly Point[]) {
  const selected = mask.reduce((sum, value) => sum + value, 0)
  const reach = Math.max(2, 0.25 * Math.sqrt(selected))
  const distance = (pixel: number, [x, y]: Point) =>
    Math.hypot((pixel % picture.width) + 0.5 - x, Math.floor(pixel / picture.width) + 0.5 - y)
  return (pixel: number) => {
    const off = distance(pixel, point)
    return off <= reach && kept.every(other => off <= distance(pixel, other))
  }
}

function patchAt(picture: WorkPicture, point: Point): number {
  return picture.regions.of[pixelAt(picture, point)] ?? 0
}
