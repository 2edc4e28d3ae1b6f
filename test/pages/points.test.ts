import t from 'tap'
import { inside, isSameShape, nudge, percentOf, pixelAt } from '../../src/pages/playground/geometry.js'
import {
  addPoint,
  clearPoints,
  dropPoint,
  flipPoint,
  MAX_POINTS,
  movePoint,
  NO_POINTS,
  type PointList,
  pointsFrom,
  undo,
} from '../../src/pages/playground/points.js'

const shown = ({ points }: PointList) => points.map(({ x, y, mark }) => `${mark} ${x},${y}`)
const two = addPoint(addPoint(NO_POINTS, { x: 1, y: 2 }, 'add'), { x: 3, y: 4 }, 'remove')

t.test('every change of the points is undone, one after the other', async t => {
  const changes: [name: string, changed: PointList, becomes: string[]][] = [
    ['added', addPoint(two, { x: 5, y: 6 }, 'add'), ['add 1,2', 'remove 3,4', 'add 5,6']],
    ['moved', movePoint(two, 1, { x: 9, y: 9 }, 'drag 1'), ['add 9,9', 'remove 3,4']],
    ['flipped', flipPoint(two, 2), ['add 1,2', 'add 3,4']],
    ['removed', dropPoint(two, 1), ['remove 3,4']],
    ['cleared', clearPoints(two), []],
  ]
  for (const [name, changed, becomes] of changes) {
    t.strictSame(shown(changed), becomes, name)
    t.strictSame(shown(undo(changed)), shown(two), `${name}, undone`)
  }
  t.strictSame(shown(undo(undo(two))), [])
  t.equal(undo(NO_POINTS), NO_POINTS, 'nothing to undo')
  t.equal(clearPoints(NO_POINTS), NO_POINTS, 'nothing to clear')
})

t.test('one movement is one step, however many pixels it has', async t => {
  const places = [3, 4, 5].map(x => ({ x, y: 2 }))
  const dragged = places.reduce((list, place) => movePoint(list, 1, place, 'drag 1'), two)
  t.strictSame(shown(dragged), ['add 5,2', 'remove 3,4'])
  t.strictSame(shown(undo(dragged)), shown(two))
  const again = movePoint(dragged, 1, { x: 8, y: 2 }, 'drag 2')
  t.strictSame(shown(undo(again)), shown(dragged), 'the next movement is another step')
  const afterUndo = movePoint(undo(again), 1, { x: 7, y: 2 }, 'drag 2')
  t.strictSame(shown(undo(afterUndo)), shown(dragged), 'an undo ends a movement')
})

t.test('ids are never used twice, and the list ends where the gateway would refuse it', async t => {
  const reused = addPoint(dropPoint(two, 2), { x: 0, y: 0 }, 'add')
  t.strictSame(
    reused.points.map(({ id }) => id),
    [1, 3],
  )
  t.equal(addPoint(pointsFrom(reused.points), { x: 0, y: 0 }, 'add').points.at(-1)?.id, 4)
  let full = NO_POINTS
  for (let x = 0; x < MAX_POINTS; x++) full = addPoint(full, { x, y: 0 }, 'add')
  t.equal(full.points.length, MAX_POINTS)
  t.equal(addPoint(full, { x: 0, y: 0 }, 'add'), full)
})

t.test('a place in the window is a pixel of the picture', async t => {
  const box = { left: 10, top: 20, width: 300, height: 200 }
  const size = { width: 600, height: 400 }
  const places: [clientX: number, clientY: number, x: number, y: number][] = [
    [10, 20, 0, 0],
    [160, 120, 300, 200],
    [309.9, 219.9, 599, 399],
    [310, 220, 599, 399],
    [-5, 1000, 0, 399],
  ]
  for (const [clientX, clientY, x, y] of places) t.strictSame(pixelAt({ clientX, clientY }, box, size), { x, y })
  t.strictSame(percentOf({ x: 0, y: 1 }, { width: 2, height: 2 }), { x: 25, y: 75 }, 'its middle')
  t.strictSame(inside({ x: -3, y: 7 }, { width: 4, height: 4 }), { x: 0, y: 3 })
  t.equal(nudge(box, size), 2, 'a pixel of the screen')
  t.equal(nudge(box, { width: 30, height: 20 }), 1, 'never less than a pixel of the picture')
})

t.test('only what has the shape of the picture can lie on it', async t => {
  const photo = { width: 600, height: 400 }
  t.ok(isSameShape({ width: 300, height: 200 }, photo))
  t.ok(isSameShape({ width: 301, height: 200 }, photo))
  t.notOk(isSameShape({ width: 400, height: 600 }, photo))
})
