import { GatewayError } from '../contracts/errors.js'
import type { MaskFacts, Size } from '../contracts/types.js'
import type { GreyPixels } from './rle.js'
import { createSlices, type Slices } from './work-slices.js'

/**
 * A closed ring of corners, `x0, y0, x1, y1, …`, in pixel corners from 0 to the width or height.
 * The first corner is not repeated. Exteriors run clockwise on the screen and holes against it, so
 * that their signed area is positive and negative as the numbers stand (RFC 7946 §3.1.6).
 */
export type Ring = Int32Array

/** One instance: selected pixels that share edges. Box and area are those of its pixels. */
export interface OutlinePolygon extends MaskFacts {
  exterior: Ring
  holes: Ring[]
}

/** The outline of a mask. Instances are in the order of their first pixel, row by row. */
export interface Outline extends Size, MaskFacts {
  polygons: OutlinePolygon[]
}

/** Grey of a selected pixel, at least. */
const SELECTED = 128
/** A step along a ring, and a ring, take as long as so many pixels. */
const STEP_PIXELS = 10
const RING_PIXELS = 200
/** Steps between two looks at the work done. */
const MAX_STEPS = 100_000
/** An outline of more corners is noise. As JSON it takes about 6 MB. */
const MAX_CORNERS = 500_000

/** A ring as it was followed. `label` is that of the pixel it was started from. */
interface LabelledRing {
  ring: Ring
  label: number
}

/**
 * Follows the edges between selected and other pixels. Pixels that touch only at a corner are not
 * connected. No ring visits a corner twice, so every polygon is valid in the sense of the OGC:
 * rings touch in single corners and never cross. Filling all rings even-odd gives the mask back.
 * Throws `invalid_parameter` beyond `maxCorners`.
 */
export async function traceOutline(pixels: GreyPixels, maxCorners = MAX_CORNERS): Promise<Outline> {
  const { width, height } = pixels
  const slices = createSlices()
  const labels = createLabels(pixels)
  const follower = createFollower(pixels, maxCorners)
  for (let y = 0; y < height; y++) {
    for (const x of labels.readRow(y)) {
      if (follower.hasVisited(x, y)) continue
      follower.start(x, y, labels.at(x))
      for (let isClosed = false; !isClosed; ) {
        const steps = follower.advance(MAX_STEPS)
        isClosed = steps < MAX_STEPS
        const pause = slices.pause(STEP_PIXELS * steps + RING_PIXELS)
        if (pause) await pause
      }
    }
    const pause = slices.pause(width)
    if (pause) await pause
  }
  return toOutline({ width, height }, follower.rings, { rootOf: labels.rootOf, slices })
}

/**
 * Creates a reader of rows, from top to bottom, that labels the selected pixels from 1. Labels of
 * one instance have one root.
 */
function createLabels({ width, data }: GreyPixels) {
  /** The labels of the last row. 0: not selected. */
  const columns = new Int32Array(width)
  const parents = [0]
  const rootOf = (label: number): number => {
    let at = label
    for (;;) {
      const parent = parents[at] as number
      if (parent === at) return at
      parents[at] = parents[parent] as number
      at = parent
    }
  }
  const join = (one: number, other: number): void => {
    const [first, second] = [rootOf(one), rootOf(other)]
    parents[Math.max(first, second)] = Math.min(first, second)
  }
  const labelOf = (left: number, above: number): number => {
    if (left === 0) return above || parents.push(parents.length) - 1
    if (above !== 0 && above !== left) join(left, above)
    return left
  }
  return {
    rootOf,
    /** Returns the label of a pixel in the last row. */
    at: (x: number) => columns[x] as number,
    /** Reads a row. Returns where its upper edges begin, from left to right. */
    readRow(y: number): number[] {
      const starts: number[] = []
      let [label, isEdge] = [0, false]
      for (let x = 0, index = y * width; x < width; x++, index++) {
        const above = columns[x] as number
        const isSelected = (data[index] as number) >= SELECTED
        label = isSelected ? labelOf(label, above) : 0
        columns[x] = label
        const wasEdge = isEdge
        isEdge = isSelected && above === 0
        if (isEdge && !wasEdge) starts.push(x)
      }
      return starts
    },
  }
}

/** Steps of the directions right, down, left and up. */
const [STEP_X, STEP_Y] = [
  [1, 0, -1, 0],
  [0, 1, 0, -1],
] as const
/**
 * The pixels ahead of a corner, on the right and on the left of each direction, relative to the
 * pixel whose upper left corner it is.
 */
const [RIGHT_X, RIGHT_Y] = [
  [0, -1, -1, 0],
  [0, 0, -1, -1],
] as const
const [LEFT_X, LEFT_Y] = [
  [0, 0, -1, -1],
  [-1, 0, 0, -1],
] as const

/** Creates a follower of rings. It keeps the selected pixels on its right. */
function createFollower({ width, height, data }: GreyPixels, maxCorners: number) {
  const isSelected = (x: number, y: number) =>
    x >= 0 && y >= 0 && x < width && y < height && (data[y * width + x] as number) >= SELECTED
  /** A bit for each pixel whose upper edge was followed. Every ring has such an edge. */
  const visited = new Uint8Array(Math.ceil((width * height) / 8))
  const rings: LabelledRing[] = []
  const path = createPath(width, ring => rings.push({ ring, label }))
  let [startX, startY, x, y, direction, label, corners] = [0, 0, 0, 0, 0, 0, 0]
  return {
    rings,
    hasVisited: (atX: number, atY: number) => isMarked(visited, atY * width + atX),
    start(atX: number, atY: number, of: number): void {
      ;[startX, startY, x, y, direction, label] = [atX, atY, atX, atY, 0, of]
    },
    /**
     * Follows the ring for less than `maxSteps` if that closes it, else for `maxSteps`. Returns
     * their number.
     */
    advance(maxSteps: number): number {
      for (let step = 0; step < maxSteps; step++) {
        if (direction === 0) mark(visited, y * width + x)
        x += STEP_X[direction] as number
        y += STEP_Y[direction] as number
        const onRight = isSelected(x + (RIGHT_X[direction] as number), y + (RIGHT_Y[direction] as number))
        const onLeft = isSelected(x + (LEFT_X[direction] as number), y + (LEFT_Y[direction] as number))
        if (onRight && !onLeft) continue
        direction = (direction + (onRight ? 3 : 1)) & 3
        if (++corners > maxCorners) throw tooManyCorners(maxCorners)
        path.add(x, y, !onRight && onLeft)
        if (x !== startX || y !== startY || direction !== 0) continue
        path.close()
        return step
      }
      return maxSteps
    },
  }
}

function isMarked(bits: Uint8Array, index: number): boolean {
  return ((bits[index >> 3] as number) & (1 << (index & 7))) !== 0
}

function mark(bits: Uint8Array, index: number): void {
  bits[index >> 3] = (bits[index >> 3] as number) | (1 << (index & 7))
}

/**
 * Collects the corners of a ring. Where the ring comes back to a corner, the loop in between
 * becomes a ring of its own. Only corners where two pixels touch diagonally (`isShared`) are
 * visited twice.
 */
function createPath(width: number, onRing: (ring: Ring) => void) {
  const corners: number[] = []
  /** Position in `corners` by place. */
  const shared = new Map<number, number>()
  return {
    add(x: number, y: number, isShared: boolean): void {
      if (isShared) {
        const place = y * (width + 1) + x
        const first = shared.get(place)
        if (first !== undefined) {
          shared.delete(place)
          const loop = corners.splice(first + 2)
          loop.push(x, y)
          onRing(new Int32Array(loop))
          return
        }
        shared.set(place, corners.length)
      }
      corners.push(x, y)
    },
    close(): void {
      onRing(new Int32Array(corners))
      corners.length = 0
      shared.clear()
    },
  }
}

/** Returns twice the area of a ring: positive for exteriors, negative for holes. */
export function doubleArea(ring: ArrayLike<number>): number {
  const { length } = ring
  let sum = 0
  for (let at = 0, last = length - 2; at < length; last = at, at += 2)
    sum += (ring[last] as number) * (ring[at + 1] as number) - (ring[at] as number) * (ring[last + 1] as number)
  return sum
}

/** Gathers the rings of each instance. */
async function toOutline(
  size: Size,
  rings: readonly LabelledRing[],
  { rootOf, slices }: { rootOf(label: number): number; slices: Slices },
): Promise<Outline> {
  const byRoot = new Map<number, OutlinePolygon>()
  let area = 0
  const box = createBox()
  for (const { ring, label } of rings) {
    const root = rootOf(label)
    const polygon = byRoot.get(root) ?? { exterior: ring, holes: [], area: 0, bbox: [0, 0, 0, 0] }
    byRoot.set(root, polygon)
    const enclosed = doubleArea(ring) / 2
    area += enclosed
    polygon.area += enclosed
    if (enclosed < 0) polygon.holes.push(ring)
    else {
      const own = createBox()
      own.add(ring)
      box.add(ring)
      Object.assign(polygon, { exterior: ring, bbox: own.read() })
    }
    const pause = slices.pause(RING_PIXELS + STEP_PIXELS * ring.length)
    if (pause) await pause
  }
  return { ...size, bbox: box.read(), area, polygons: [...byRoot.values()] }
}

/** Computes the box around rings: `[0,0,0,0]` if there are none. */
function createBox() {
  let [left, top, right, bottom] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 0, 0]
  return {
    add(ring: Ring): void {
      for (let at = 0; at < ring.length; at += 2) {
        const [x, y] = [ring[at] as number, ring[at + 1] as number]
        if (x < left) left = x
        if (x > right) right = x
        if (y < top) top = y
        if (y > bottom) bottom = y
      }
    },
    read: (): MaskFacts['bbox'] => (right === 0 ? [0, 0, 0, 0] : [left, top, right - left, bottom - top]),
  }
}

function tooManyCorners(maxCorners: number): GatewayError {
  return new GatewayError(
    'invalid_parameter',
    `output: the outline of this mask has more than ${maxCorners.toLocaleString('en')} corners. ` +
      'Use output=rle or mask.',
  )
}
