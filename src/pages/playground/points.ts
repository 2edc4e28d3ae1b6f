/** Whether what lies under a point is selected or left out. */
export type Mark = 'add' | 'remove'

export interface Place {
  x: number
  y: number
}

/** A point in pixels of the picture as it is seen. */
export interface MarkedPoint extends Place {
  id: number
  mark: Mark
}

/** Points, and what they were before each change. */
export interface PointList {
  points: readonly MarkedPoint[]
  past: readonly (readonly MarkedPoint[])[]
  nextId: number
  /** The movement that is going on: all of it is undone at once. */
  gesture: string | undefined
}

/** The gateway takes no more. */
export const MAX_POINTS = 100

export const NO_POINTS: PointList = { points: [], past: [], nextId: 1, gesture: undefined }

/** A list that begins with points, with nothing to undo. */
export function pointsFrom(points: readonly MarkedPoint[]): PointList {
  return { ...NO_POINTS, points, nextId: Math.max(0, ...points.map(({ id }) => id)) + 1 }
}

/** The list with one more point; the same list when it is full. */
export function addPoint(list: PointList, place: Place, mark: Mark): PointList {
  if (list.points.length >= MAX_POINTS) return list
  const changed = change(list, [...list.points, { ...place, mark, id: list.nextId }])
  return { ...changed, nextId: list.nextId + 1 }
}

/** Moves a point; movements of one `gesture`, one after the other, are one step for `undo`. */
export function movePoint(list: PointList, id: number, { x, y }: Place, gesture: string): PointList {
  const points = list.points.map(point => (point.id === id ? { ...point, x, y } : point))
  return list.gesture === gesture ? { ...list, points } : { ...change(list, points), gesture }
}

export function dropPoint(list: PointList, id: number): PointList {
  return change(
    list,
    list.points.filter(point => point.id !== id),
  )
}

/** Makes a point that selects one that leaves out, and the other way round. */
export function flipPoint(list: PointList, id: number): PointList {
  return change(
    list,
    list.points.map(point => (point.id === id ? { ...point, mark: point.mark === 'add' ? 'remove' : 'add' } : point)),
  )
}

export function clearPoints(list: PointList): PointList {
  return list.points.length === 0 ? list : change(list, [])
}

/** The list before the last change; the same list when there was none. */
export function undo(list: PointList): PointList {
  const points = list.past.at(-1)
  return points ? { ...list, points, past: list.past.slice(0, -1), gesture: undefined } : list
}

function change(list: PointList, points: readonly MarkedPoint[]): PointList {
  return { ...list, points, past: [...list.past, list.points], gesture: undefined }
}
