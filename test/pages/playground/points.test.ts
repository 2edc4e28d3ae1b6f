import t from 'tap'
import {
  arrowStep,
  clampToImage,
  hasSameRatio,
  percentOf,
  pixelAt,
} from '../../../src/pages/playground/image/geometry.js'
import {
  addPoint,
  clearPoints,
  MAX_POINTS,
  movePoint,
  NO_POINTS,
  type PointList,
  pointsFrom,
  removePoint,
  togglePoint,
  undo,
} from '../../../src/pages/playground/image/points.js'

const shown = ({ points }: PointList) => points.map(({ x, y, kind }) => `${kind} ${x},${y}`)
const two = addPoint(addPoint(NO_POINTS, { x: 1, y: 2 }, 'include'), { x: 3, y: 4 }, 'exclude')

t.test('every change of the points can be undone', async t => {
  const changes: [name: string, changed: PointList, becomes: string[]][] = [
    ['added', addPoint(two, { x: 5, y: 6 }, 'include'), ['include 1,2', 'exclude 3,4', 'include 5,6']],
    ['moved', movePoint(two, 1, { x: 9, y: 9 }, 'drag 1'), ['include 9,9', 'exclude 3,4']],
    ['toggled', togglePoint(two, 2), ['include 1,2', 'include 3,4']],
    ['removed', removePoint(two, 1), ['exclude 3,4']],
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

t.test('one movement is one undo step', async t => {
  const places = [3, 4, 5].map(x => ({ x, y: 2 }))
  const dragged = places.reduce((list, place) => movePoint(list, 1, place, 'drag 1'), two)
  t.strictSame(shown(dragged), ['include 5,2', 'exclude 3,4'])
  t.strictSame(shown(undo(dragged)), shown(two))
  const again = movePoint(dragged, 1, { x: 8, y: 2 }, 'drag 2')
  t.strictSame(shown(undo(again)), shown(dragged), 'the next movement is another step')
  const afterUndo = movePoint(undo(again), 1, { x: 7, y: 2 }, 'drag 2')
  t.strictSame(shown(undo(afterUndo)), shown(dragged), 'an undo ends the movement')
})

t.test('ids are not reused, and the list is full at the limit of the gateway', async t => {
  const reused = addPoint(removePoint(two, 2), { x: 0, y: 0 }, 'include')
  t.strictSame(
    reused.points.map(({ id }) => id),
    [1, 3],
  )
  t.equal(addPoint(pointsFrom(reused.points), { x: 0, y: 0 }, 'include').points.at(-1)?.id, 4)
  let full = NO_POINTS
  for (let x = 0; x < MAX_POINTS; x++) full = addPoint(full, { x, y: 0 }, 'include')
  t.equal(full.points.length, MAX_POINTS)
  t.equal(addPoint(full, { x: 0, y: 0 }, 'include'), full)
})

t.test('a position in the window maps to a pixel of the image', async t => {
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
  t.strictSame(percentOf({ x: 0, y: 1 }, { width: 2, height: 2 }), { x: 25, y: 75 }, 'the centre of the pixel')
  t.strictSame(clampToImage({ x: -3, y: 7 }, { width: 4, height: 4 }), { x: 0, y: 3 })
  t.equal(arrowStep(box, size), 2, 'one pixel of the screen')
  t.equal(arrowStep(box, { width: 30, height: 20 }), 1, 'at least one pixel of the image')
})

t.test('aspect ratios are compared with a tolerance', async t => {
  const photo = { width: 600, height: 400 }
  t.ok(hasSameRatio({ width: 300, height: 200 }, photo))
  t.ok(hasSameRatio({ width: 301, height: 200 }, photo))
  t.notOk(hasSameRatio({ width: 400, height: 600 }, photo))
})
