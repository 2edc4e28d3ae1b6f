import { thingInFocus } from './main-thing.js'
import { likeness } from './measures.js'
import { joinPatches, type Patch } from './patches.js'
import { bears, readWish, type Wish } from './wish.js'
import { addUp, type Candidate, type WorkPicture } from './work-picture.js'

/** A part of the same colour belongs to the thing from this share of its size on. */
const LEAST_PART = 0.06
/** How far around a thing its other parts may lie, as a share of the picture's sides, and how much of them must. */
const NEAR = 0.2
const MOSTLY = 0.6
/** Smallest share of the picture that counts as "the colour is there". */
const LEAST_COLOUR = 0.003

/** Finds what a prompt may mean: the most prominent thing that fits its colour and place words. Answers a mask of 0 and 1. */
export function selectByPrompt(picture: WorkPicture, prompt: string): Uint8Array {
  const wish = readWish(prompt)
  const chosen = new Set(bestFor(picture, wish)?.members)
  const turned = wish.background && wish.colours.length === 0
  return Uint8Array.from(picture.regions.of, region => (chosen.has(region) !== turned ? 1 : 0))
}

function bestFor(picture: WorkPicture, wish: Wish): Candidate | undefined {
  const match = colourMatch(picture, wish)
  const coloured = match ? colouredThings(picture, match) : []
  const best = highest([...picture.candidates, ...coloured], candidate => fitness(picture, candidate, wish, match))
  if (match && best) return withOtherParts(picture, best, coloured)
  const plain = wish.across === undefined && wish.down === undefined
  if (!plain || !best || best.measures.share > 0.1) return best
  return thingInFocus(picture) ?? best
}

/** Adds parts of the same colour that something else cuts off, such as the other half of a jacket. */
function withOtherParts(picture: WorkPicture, thing: Candidate, coloured: readonly Candidate[]): Candidate {
  const { box, pixels } = thing.patch
  const [across, down] = [NEAR * picture.width, NEAR * picture.height]
  const near = { left: box.left - across, right: box.right + across, top: box.top - down, bottom: box.bottom + down }
  const parts = coloured.filter(({ patch }) => patch.pixels > LEAST_PART * pixels && overlap(patch.box, near) > MOSTLY)
  const members = Int32Array.from(new Set([thing, ...parts].flatMap(part => [...part.members])))
  const patch = [...members].flatMap(member => picture.graph.patches[member] ?? []).reduce(joinPatches)
  return { patch, members, measures: picture.measure({ patch, members }) }
}

/** The share of the first box that the second covers. */
function overlap(box: Patch['box'], other: Patch['box']): number {
  const across = Math.min(box.right, other.right) - Math.max(box.left, other.left) + 1
  const down = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top) + 1
  const area = (box.right - box.left + 1) * (box.bottom - box.top + 1)
  return (Math.max(0, across) * Math.max(0, down)) / area
}

/** How well a candidate fits: a thing, of the colour, at the place. */
function fitness(picture: WorkPicture, candidate: Candidate, wish: Wish, match: ColourMatch | undefined): number {
  const { measures } = candidate
  const usual = wish.background && !match ? undefined : wish.spread
  const lost = usual !== undefined ? 0 : 0.6 * measures.sidesCovered + 4 * Math.max(0, measures.share - 0.6)
  return likeness(measures, usual ?? 0.18) - lost + placing(picture, candidate, wish) + colouring(candidate, match)
}

function placing(picture: WorkPicture, { patch, members }: Candidate, wish: Wish): number {
  const x = (patch.sumX + patch.pixels / 2) / patch.pixels / picture.width - 0.5
  const y = (patch.sumY + patch.pixels / 2) / patch.pixels / picture.height - 0.5
  const placed = wish.across !== undefined || wish.down !== undefined
  if (placed) {
    const offX = wish.across === undefined ? 0.4 * x : x - 0.28 * wish.across
    const offY = wish.down === undefined ? 0.4 * y : y - 0.28 * wish.down
    return -14 * (offX * offX + offY * offY)
  }
  let held = 0
  for (const member of members) held += picture.middle[member] ?? 0
  return -7 * (x * x + y * y) + 0.35 * Math.log(held + 0.01)
}

/** Pixels of each patch that bear the colour, and of all patches together. */
interface ColourMatch {
  of: Float32Array
  all: number
}

function colouring({ members, patch }: Candidate, match: ColourMatch | undefined): number {
  if (!match) return 0
  let bearing = 0
  for (const member of members) bearing += match.of[member] ?? 0
  return 3 * Math.log(bearing / patch.pixels + 0.05) + 1.2 * Math.log(bearing / match.all + 0.03)
}

function colourMatch(picture: WorkPicture, wish: Wish): ColourMatch | undefined {
  if (wish.colours.length === 0) return undefined
  const { rgb, regions } = picture
  const bearing = Float32Array.from(regions.of, (_, pixel) => {
    const [red, green, blue] = [rgb[3 * pixel] ?? 0, rgb[3 * pixel + 1] ?? 0, rgb[3 * pixel + 2] ?? 0]
    return Math.max(...wish.colours.map(colour => bears(colour, red, green, blue)))
  })
  const of = addUp(regions, bearing)
  const all = of.reduce((sum, value) => sum + value, 0)
  return all < LEAST_COLOUR * bearing.length ? undefined : { of, all }
}

/** Neighbouring patches of the wished colour, taken together. */
function colouredThings(picture: WorkPicture, match: ColourMatch): Candidate[] {
  const { patches, borders } = picture.graph
  const waiting = new Set<number>()
  patches.forEach((patch, index) => {
    if ((match.of[index] ?? 0) > 0.5 * patch.pixels) waiting.add(index)
  })
  const things: Candidate[] = []
  for (const start of waiting) {
    const members = [start]
    waiting.delete(start)
    for (const member of members) {
      for (const other of borders[member]?.keys() ?? []) if (waiting.delete(other)) members.push(other)
    }
    const patch = members.flatMap(member => patches[member] ?? []).reduce(joinPatches)
    const proposal = { patch, members: Int32Array.from(members) }
    things.push({ ...proposal, measures: picture.measure(proposal) })
  }
  return things
}

function highest<T>(items: readonly T[], score: (item: T) => number): T | undefined {
  let best: T | undefined
  let most = Number.NEGATIVE_INFINITY
  for (const item of items) {
    const value = score(item)
    if (value > most) {
      most = value
      best = item
    }
  }
  return best
}
