import type { Ring } from './outline.js'
import type { KeptRing, Side, Sides } from './side-conflicts.js'
import type { Slices } from './work-slices.js'

const CELL_PIXELS = 16
const COLUMNS = 2 ** 16
/** Testing a point against a corner, and looking at a side, takes as long as so many pixels. */
const CORNER_PIXELS = 2
const SIDE_PIXELS = 100
/** A side near more points than this is not tested: it is found. This bounds the time. */
const MAX_POINTS = 64
/**
 * From a corner into its pixel. Hardly any side between two corners of pixels goes through such a
 * point.
 */
const [INTO_X, INTO_Y] = [0.37, 0.41]

/**
 * Finds sides that would change on which side of its ring another ring is: between such a side and
 * the corners that it leaves out lies a point within the other one. Also finds the sides of a flat
 * ring, which is left out, if a point lies within it. `limit` is the square of the largest distance
 * of these corners from the side.
 */
export async function findNested(
  rings: readonly KeptRing[],
  { sides, isFlat }: { sides: Sides; isFlat: readonly boolean[] },
  limit: number,
  slices: Slices,
): Promise<Side[]> {
  const cells = sortPoints(rings.map(({ source }, ring) => pointIn(source, ring)))
  const found: Side[] = []
  for (const index of sides.shortened) {
    const side = sides.at(index)
    const ring = rings[side.ring] as KeptRing
    const isLeftOut = isFlat[side.ring] === true
    const arc = isLeftOut ? ring.source : arcOf(ring, side)
    const near = pointsNear(arc, { ring: side.ring, limit: isLeftOut ? Number.POSITIVE_INFINITY : limit, cells })
    const pause = slices.pause(SIDE_PIXELS + CORNER_PIXELS * arc.length * Math.min(near.length, MAX_POINTS))
    if (pause) await pause
    if (near.length > MAX_POINTS || near.some(point => isWithin(arc, point))) found.push(side)
  }
  return found
}

interface Point {
  x: number
  y: number
  ring: number
}

/** Returns a point within a ring: in the pixel below the leftmost of its uppermost corners. */
function pointIn(source: Ring, ring: number): Point {
  let at = 0
  for (let other = 2; other < source.length; other += 2) {
    const below = (source[other + 1] as number) - (source[at + 1] as number)
    if (below < 0 || (below === 0 && (source[other] as number) < (source[at] as number))) at = other
  }
  return { x: (source[at] as number) + INTO_X, y: (source[at + 1] as number) + INTO_Y, ring }
}

function cellAt(x: number, y: number): number {
  return Math.floor(y / CELL_PIXELS) * COLUMNS + Math.floor(x / CELL_PIXELS)
}

function sortPoints(points: readonly Point[]): Map<number, Point[]> {
  const cells = new Map<number, Point[]>()
  for (const point of points) {
    const cell = cellAt(point.x, point.y)
    const others = cells.get(cell)
    if (others) others.push(point)
    else cells.set(cell, [point])
  }
  return cells
}

/** Lists the coordinates of the corners from one end of a side to the other. */
function arcOf({ source, kept }: KeptRing, { from, to }: Side): Ring {
  const count = kept.length
  const length = ((to - from + count - 1) % count) + 2
  const arc = new Int32Array(2 * length)
  for (let at = 0; at < length; at++) {
    const corner = 2 * ((from + at) % count)
    arc[2 * at] = source[corner] as number
    arc[2 * at + 1] = source[corner + 1] as number
  }
  return arc
}

/**
 * Lists the points of other rings that may be between an arc and its side, or one more than are
 * tested.
 */
function pointsNear(
  arc: Ring,
  { ring, limit, cells }: { ring: number; limit: number; cells: ReadonlyMap<number, readonly Point[]> },
): Point[] {
  const [left, top, right, bottom] = boxOf(arc)
  const near: Point[] = []
  for (let y = top; y < bottom + CELL_PIXELS; y += CELL_PIXELS)
    for (let x = left; x < right + CELL_PIXELS; x += CELL_PIXELS)
      for (const point of cells.get(cellAt(x, y)) ?? []) {
        const isInBox = point.x > left && point.x < right && point.y > top && point.y < bottom
        if (point.ring === ring || !isInBox || squaredDistance(arc, point) > limit) continue
        near.push(point)
        if (near.length > MAX_POINTS) return near
      }
  return near
}

function boxOf(arc: Ring): [left: number, top: number, right: number, bottom: number] {
  let [left, top, right, bottom] = [arc[0] as number, arc[1] as number, arc[0] as number, arc[1] as number]
  for (let at = 2; at < arc.length; at += 2) {
    left = Math.min(left, arc[at] as number)
    right = Math.max(right, arc[at] as number)
    top = Math.min(top, arc[at + 1] as number)
    bottom = Math.max(bottom, arc[at + 1] as number)
  }
  return [left, top, right, bottom]
}

/** Returns the square of the distance of a point from the side of an arc. */
function squaredDistance(arc: Ring, { x, y }: Point): number {
  const [x1, y1] = [arc[0] as number, arc[1] as number]
  const [dx, dy] = [(arc.at(-2) as number) - x1, (arc.at(-1) as number) - y1]
  const length = dx * dx + dy * dy
  const along = length === 0 ? 0 : Math.min(1, Math.max(0, ((x - x1) * dx + (y - y1) * dy) / length))
  return (x - x1 - along * dx) ** 2 + (y - y1 - along * dy) ** 2
}

/** Returns whether a point is between an arc and its side, by the even-odd rule. */
function isWithin(arc: Ring, { x, y }: Point): boolean {
  let isInside = false
  let before = arc.length - 2
  for (let at = 0; at < arc.length; at += 2) {
    const [ax, ay] = [arc[before] as number, arc[before + 1] as number]
    const [bx, by] = [arc[at] as number, arc[at + 1] as number]
    if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) isInside = !isInside
    before = at
  }
  return isInside
}
