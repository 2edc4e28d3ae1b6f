import type { Pixel } from './geometry.js'

export type PointKind = 'include' | 'exclude'

/** A point in pixels of the image as it is displayed. */
export interface Point extends Pixel {
  id: number
  kind: PointKind
}

/** Points with their undo history. */
export interface PointList {
  points: readonly Point[]
  past: readonly (readonly Point[])[]
  nextId: number
  /** The current movement. All of it is one undo step. */
  gesture: string | undefined
}

/** The gateway accepts no more points. */
export const MAX_POINTS = 100

export const NO_POINTS: PointList = { points: [], past: [], nextId: 1, gesture: undefined }

/** Creates a list with an empty undo history. */
export function pointsFrom(points: readonly Point[]): PointList {
  return { ...NO_POINTS, points, nextId: Math.max(0, ...points.map(({ id }) => id)) + 1 }
}

/** Adds a point. Returns the same list if it is full. */
export function addPoint(list: PointList, { x, y }: Pixel, kind: PointKind): PointList {
  if (list.points.length >= MAX_POINTS) return list
  return { ...change(list, [...list.points, { x, y, kind, id: list.nextId }]), nextId: list.nextId + 1 }
}

/** Moves a point. Consecutive moves of the same `gesture` are one undo step. */
export function movePoint(list: PointList, id: number, { x, y }: Pixel, gesture: string): PointList {
  const points = list.points.map(point => (point.id === id ? { ...point, x, y } : point))
  return { ...(list.gesture === gesture ? { ...list, points } : change(list, points)), gesture }
}

export function removePoint(list: PointList, id: number): PointList {
  const points = list.points.filter(point => point.id !== id)
  return change(list, points)
}

/** Switches a point between include and exclude. */
export function togglePoint(list: PointList, id: number): PointList {
  const toggled = (point: Point): Point => ({ ...point, kind: point.kind === 'include' ? 'exclude' : 'include' })
  const points = list.points.map(point => (point.id === id ? toggled(point) : point))
  return change(list, points)
}

export function clearPoints(list: PointList): PointList {
  return list.points.length === 0 ? list : change(list, [])
}

/** Undoes the last change. Returns the same list if there is none. */
export function undo(list: PointList): PointList {
  const points = list.past.at(-1)
  return points ? { ...list, points, past: list.past.slice(0, -1), gesture: undefined } : list
}

function change(list: PointList, points: readonly Point[]): PointList {
  return { ...list, points, past: [...list.past, list.points], gesture: undefined }
}
