import { findNested } from './nested-rings.js'
import { doubleArea, type Outline, type OutlinePolygon, type Ring } from './outline.js'
import { findConflicts, type KeptRing, listSides } from './side-conflicts.js'
import { createSlices, type Slices } from './work-slices.js'

/** Bounds the time of a ring, which grows with the square of an arc in the worst case. */
const MAX_ARC_CORNERS = 512
/** Looking at a corner, an arc and a ring takes as long as so many pixels. */
const CORNER_PIXELS = 5
const ARC_PIXELS = 100
const RING_PIXELS = 1000
/** Each round repairs the conflicts it finds. What is left after so many stays. */
const MAX_ROUNDS = 32

/** The corners from one to another, along the ring. */
type Arc = readonly [from: number, to: number]

/** A ring that is being simplified. */
interface Draft extends KeptRing {
  polygon: number
  isHole: boolean
}

/**
 * Removes corners whose removal moves the outline by at most `tolerance` pixels (Douglas–Peucker).
 * Keeps some of them where sides would otherwise cross, or touch but at their ends, or where a ring
 * would get into another one or out of it. An exterior keeps at least three corners, so no instance
 * vanishes. A hole that is left without an area is removed.
 * Box and area stay those of the pixels. 0 keeps every corner.
 */
export async function simplifyOutline(outline: Outline, tolerance: number): Promise<Outline> {
  if (tolerance === 0) return outline
  const slices = createSlices()
  const limit = tolerance * tolerance
  const drafts: Draft[] = []
  for (const [polygon, { exterior, holes }] of outline.polygons.entries())
    for (const source of [exterior, ...holes]) {
      const draft = { source, kept: new Uint8Array(source.length / 2), polygon, isHole: source !== exterior }
      await simplify(draft, limit, slices)
      const pause = slices.pause(RING_PIXELS)
      if (pause) await pause
      drafts.push(draft)
    }
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const sides = await listSides(drafts, slices)
    const isFlat = drafts.map(draft => draft.isHole && !hasArea(draft))
    const conflicts = await findConflicts(sides, isFlat, outline, slices)
    conflicts.push(...(await findNested(drafts, { sides, isFlat }, limit, slices)))
    if (conflicts.length === 0) break
    for (const { ring, from, to } of conflicts) await refine(drafts[ring] as Draft, [from, to], limit, slices)
  }
  return { ...outline, polygons: await assemble(outline.polygons, drafts, slices) }
}

async function assemble(
  originals: readonly OutlinePolygon[],
  drafts: readonly Draft[],
  slices: Slices,
): Promise<OutlinePolygon[]> {
  const polygons = originals.map(polygon => ({ ...polygon, holes: [] as Ring[] }))
  for (const draft of drafts) {
    const polygon = polygons[draft.polygon] as OutlinePolygon
    if (!draft.isHole) polygon.exterior = keptOf(draft)
    else if (hasArea(draft)) polygon.holes.push(keptOf(draft))
    const pause = slices.pause(RING_PIXELS)
    if (pause) await pause
  }
  return polygons
}

/** Chooses the corners of a ring to keep. `limit` is the square of the tolerance. */
async function simplify(draft: Draft, limit: number, slices: Slices): Promise<void> {
  const { source, kept, isHole } = draft
  for (let at = 0; at < kept.length; at += MAX_ARC_CORNERS) kept[at] = 1
  kept[farthest(source, 0, 0).corner] = 1
  for (const side of sidesOf(kept)) await keepFarCorners(draft, side, limit, slices)
  while (!isHole && !hasArea(draft)) for (const side of sidesOf(kept)) await refine(draft, side, limit, slices)
}

/** Keeps the corners that are too far from the sides of an arc. */
async function keepFarCorners({ source, kept }: Draft, arc: Arc, limit: number, slices: Slices): Promise<void> {
  const arcs = [arc]
  for (let next = arcs.pop(); next; next = arcs.pop()) {
    const [from, to] = next
    const pause = slices.pause(ARC_PIXELS + CORNER_PIXELS * between(from, to, kept.length))
    if (pause) await pause
    const { corner, squared } = farthest(source, from, to)
    if (squared <= limit) continue
    kept[corner] = 1
    arcs.push([from, corner], [corner, to])
  }
}

/** Splits an arc at the corner that is farthest from its side. */
async function refine(draft: Draft, [from, to]: Arc, limit: number, slices: Slices): Promise<void> {
  const { corner } = farthest(draft.source, from, to)
  if (corner < 0) return
  draft.kept[corner] = 1
  await keepFarCorners(draft, [from, corner], limit, slices)
  await keepFarCorners(draft, [corner, to], limit, slices)
}

/** Lists the sides between kept corners, as pairs of corners. */
function sidesOf(kept: Uint8Array): Arc[] {
  const corners: number[] = []
  for (let at = 0; at < kept.length; at++) if (kept[at]) corners.push(at)
  return corners.map((from, at) => [from, corners[(at + 1) % corners.length] as number])
}

/** Counts the corners from one to another, around the ring if both are the same. */
function between(from: number, to: number, count: number): number {
  return (to - from + count - 1) % count
}

/**
 * Finds the corner between two others that is farthest from the side between them. -1 if there is
 * none.
 */
function farthest(source: Ring, from: number, to: number): { corner: number; squared: number } {
  const count = source.length / 2
  const [x1, y1] = [source[2 * from] as number, source[2 * from + 1] as number]
  const [dx, dy] = [(source[2 * to] as number) - x1, (source[2 * to + 1] as number) - y1]
  const length = dx * dx + dy * dy
  let [corner, squared, at] = [-1, -1, from]
  for (let left = between(from, to, count); left > 0; left--) {
    at = at + 1 === count ? 0 : at + 1
    const [x, y] = [(source[2 * at] as number) - x1, (source[2 * at + 1] as number) - y1]
    const along = length === 0 ? 0 : Math.min(1, Math.max(0, (x * dx + y * dy) / length))
    const [offX, offY] = [x - along * dx, y - along * dy]
    const distance = offX * offX + offY * offY
    if (distance <= squared) continue
    squared = distance
    corner = at
  }
  return { corner, squared }
}

/** Returns whether the kept corners enclose an area on the side where the ring has it. */
function hasArea(draft: Draft): boolean {
  const area = doubleArea(keptOf(draft))
  return draft.isHole ? area < 0 : area > 0
}

function keptOf({ source, kept }: KeptRing): Ring {
  const ring = new Int32Array(source.length)
  let length = 0
  for (let at = 0; at < kept.length; at++)
    if (kept[at]) {
      ring[length++] = source[2 * at] as number
      ring[length++] = source[2 * at + 1] as number
    }
  return ring.slice(0, length)
}
