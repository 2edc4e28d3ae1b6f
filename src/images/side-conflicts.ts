import type { Size } from '../contracts/types.js'
import type { Ring } from './outline.js'
import type { Slices } from './work-slices.js'

/** A ring of which only some corners are kept. */
export interface KeptRing {
  source: Ring
  /** 1 for each corner that is kept. */
  kept: Uint8Array
}

/** A side between two kept corners. */
export interface Side {
  ring: number
  from: number
  to: number
}

/** The sides of all rings, by number. */
export interface Sides {
  count: number
  /** `x1, y1, x2, y2` of each. */
  ends: Int32Array
  /** Sides that leave out corners. */
  shortened: readonly number[]
  at(side: number): Side
}

const CELL_PIXELS = 16
/** Listing a side, and comparing two, takes as long as so many pixels. */
const SIDE_PIXELS = 50
const PAIR_PIXELS = 4

/**
 * Finds sides that cross or touch another one but at their ends, and that leave out corners.
 * Compares only those with the others: the sides of the original rings meet at their ends only.
 * `isFlat` states of each ring whether it is left out.
 */
export async function findConflicts(
  sides: Sides,
  isFlat: readonly boolean[],
  size: Size,
  slices: Slices,
): Promise<Side[]> {
  const isLeftOut = (side: number) => isFlat[sides.at(side).ring] === true
  const grid = await createGrid(sides, isLeftOut, size, slices)
  const isConflict = new Uint8Array(sides.count)
  for (const side of sides.shortened)
    if (!isLeftOut(side))
      for (const cell of grid.cellsOf(side)) {
        const others = grid.sidesIn(cell)
        for (const other of others)
          if (other !== side && conflict(sides.ends, 4 * side, 4 * other)) isConflict[side] = isConflict[other] = 1
        const pause = slices.pause(PAIR_PIXELS * others.length)
        if (pause) await pause
      }
  return sides.shortened.filter(side => isConflict[side] === 1).map(sides.at)
}

/** Lists the sides of all rings. */
export async function listSides(rings: readonly KeptRing[], slices: Slices): Promise<Sides> {
  const count = rings.reduce((sum, { kept }) => sum + kept.reduce((kept, one) => kept + one, 0), 0)
  const ends = new Int32Array(4 * count)
  const places = new Int32Array(3 * count)
  const shortened: number[] = []
  let side = 0
  for (const [ring, { source, kept }] of rings.entries()) {
    let from = kept.lastIndexOf(1)
    for (let to = kept.indexOf(1); to >= 0; to = kept.indexOf(1, to + 1)) {
      places.set([ring, from, to], 3 * side)
      ends.set(source.subarray(2 * from, 2 * from + 2), 4 * side)
      ends.set(source.subarray(2 * to, 2 * to + 2), 4 * side + 2)
      if (to !== (from + 1) % kept.length) shortened.push(side)
      from = to
      side++
    }
    const pause = slices.pause(kept.length * SIDE_PIXELS)
    if (pause) await pause
  }
  const at = (side: number): Side => {
    const [ring = 0, from = 0, to = 0] = places.subarray(3 * side, 3 * side + 3)
    return { ring, from, to }
  }
  return { count, ends, shortened, at }
}

/** Sorts sides into the cells of a grid that their boxes cover. */
async function createGrid(
  { ends, count }: Sides,
  isLeftOut: (side: number) => boolean,
  { width, height }: Size,
  slices: Slices,
) {
  const columns = Math.floor(width / CELL_PIXELS) + 1
  /** End of each cell in `members`, once filled its start. */
  const starts = new Uint32Array(columns * (Math.floor(height / CELL_PIXELS) + 1) + 1)
  const cellsOf = (side: number): number[] => {
    const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = ends.subarray(4 * side, 4 * side + 4)
    const [left, right] = [Math.floor(Math.min(x1, x2) / CELL_PIXELS), Math.floor(Math.max(x1, x2) / CELL_PIXELS)]
    const [top, bottom] = [Math.floor(Math.min(y1, y2) / CELL_PIXELS), Math.floor(Math.max(y1, y2) / CELL_PIXELS)]
    const cells: number[] = []
    for (let row = top; row <= bottom; row++)
      for (let column = left; column <= right; column++) cells.push(row * columns + column)
    return cells
  }
  const forEach = async (visit: (cell: number, side: number) => void) => {
    for (let side = 0; side < count; side++) {
      const cells = isLeftOut(side) ? [] : cellsOf(side)
      for (const cell of cells) visit(cell, side)
      const pause = slices.pause(SIDE_PIXELS * cells.length)
      if (pause) await pause
    }
  }
  await forEach(cell => {
    starts[cell] = (starts[cell] as number) + 1
  })
  for (let cell = 1; cell < starts.length; cell++)
    starts[cell] = (starts[cell] as number) + (starts[cell - 1] as number)
  const members = new Int32Array(starts.at(-1) ?? 0)
  await forEach((cell, side) => {
    const place = (starts[cell] as number) - 1
    starts[cell] = place
    members[place] = side
  })
  return { cellsOf, sidesIn: (cell: number) => members.subarray(starts[cell], starts[cell + 1]) }
}

/**
 * Returns whether two sides cross, or touch but at their ends. `a` and `b` are their places in
 * `ends`.
 */
function conflict(ends: Int32Array, a: number, b: number): boolean {
  const [ax, ay, bx, by] = [ends[a], ends[a + 1], ends[a + 2], ends[a + 3]] as [number, number, number, number]
  const [cx, cy, dx, dy] = [ends[b], ends[b + 1], ends[b + 2], ends[b + 3]] as [number, number, number, number]
  if (Math.max(ax, bx) < Math.min(cx, dx) || Math.max(cx, dx) < Math.min(ax, bx)) return false
  if (Math.max(ay, by) < Math.min(cy, dy) || Math.max(cy, dy) < Math.min(ay, by)) return false
  const [c, d] = [turn(ax, ay, bx, by, cx, cy), turn(ax, ay, bx, by, dx, dy)]
  const [e, f] = [turn(cx, cy, dx, dy, ax, ay), turn(cx, cy, dx, dy, bx, by)]
  if (c * d < 0 && e * f < 0) return true
  const isSame =
    (ax === dx && ay === dy && bx === cx && by === cy) || (ax === cx && ay === cy && bx === dx && by === dy)
  if (isSame) return true
  return (
    (c === 0 && isInside(cx, cy, ax, ay, bx, by)) ||
    (d === 0 && isInside(dx, dy, ax, ay, bx, by)) ||
    (e === 0 && isInside(ax, ay, cx, cy, dx, dy)) ||
    (f === 0 && isInside(bx, by, cx, cy, dx, dy))
  )
}

/** Returns the side of a line on which a point is, by its sign; 0 on the line. */
function turn(ax: number, ay: number, bx: number, by: number, x: number, y: number): number {
  return Math.sign((bx - ax) * (y - ay) - (by - ay) * (x - ax))
}

/** Returns whether a point of the line is between two others, and none of them. */
function isInside(x: number, y: number, ax: number, ay: number, bx: number, by: number): boolean {
  if ((x === ax && y === ay) || (x === bx && y === by)) return false
  return x >= Math.min(ax, bx) && x <= Math.max(ax, bx) && y >= Math.min(ay, by) && y <= Math.max(ay, by)
}
