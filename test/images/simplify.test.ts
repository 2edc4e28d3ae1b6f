import fc from 'fast-check'
import t from 'tap'
import { doubleArea, type Outline, traceOutline } from '../../src/images/outline.js'
import { simplifyOutline } from '../../src/images/simplify.js'
import { type Corner, cornersOf, drawn, filled, MASKS, ringsOf } from '../support/masks.js'

const TOLERANCES = fc.constantFrom(0.25, 0.5, 1, 1.5, 2, 3, 10, 1000)

/** Distance of a point from a side. */
function distance([x, y]: Corner, [x1, y1]: Corner, [x2, y2]: Corner): number {
  const [dx, dy] = [x2 - x1, y2 - y1]
  const along = Math.min(1, Math.max(0, ((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy || 1)))
  return Math.hypot(x - x1 - along * dx, y - y1 - along * dy)
}

const turn = ([ax, ay]: Corner, [bx, by]: Corner, [x, y]: Corner) =>
  Math.sign((bx - ax) * (y - ay) - (by - ay) * (x - ax))

/** Lists the pairs of sides that cross. */
function crossings(outline: Outline): unknown[] {
  const sides = ringsOf(outline).flatMap(ring =>
    cornersOf(ring).map((corner, at, all) => [all.at(at - 1) ?? corner, corner] as const),
  )
  return sides.flatMap(([a, b], at) =>
    sides
      .slice(0, at)
      .filter(([c, d]) => turn(a, b, c) * turn(a, b, d) < 0 && turn(c, d, a) * turn(c, d, b) < 0)
      .map(other => [a, b, other]),
  )
}

t.test('every simplified outline is near the exact one, without crossings', () =>
  fc.assert(
    fc.asyncProperty(MASKS, TOLERANCES, async (mask, tolerance) => {
      const exact = await traceOutline(mask)
      const simple = await simplifyOutline(exact, tolerance)
      t.equal(simple.polygons.length, exact.polygons.length, 'no instance vanishes')
      t.strictSame(crossings(simple), [])
      for (const [at, { exterior, holes, area, bbox }] of simple.polygons.entries()) {
        const source = exact.polygons[at]
        t.strictSame([area, bbox], [source?.area, source?.bbox], 'facts are those of the pixels')
        t.ok(exterior.length >= 6 && doubleArea(exterior) > 0)
        t.ok(holes.every(hole => hole.length >= 6 && doubleArea(hole) < 0))
        const corners = cornersOf(exterior)
        const known = cornersOf(source?.exterior ?? new Int32Array()).map(String)
        t.ok(corners.every(corner => known.includes(String(corner))))
        for (const corner of cornersOf(source?.exterior ?? new Int32Array())) {
          const nearest = Math.min(...corners.map((end, side) => distance(corner, corners.at(side - 1) ?? end, end)))
          t.ok(nearest <= tolerance + 1e-9, 'no corner is farther away')
        }
      }
    }),
    { numRuns: 300 },
  ),
)

/** Returns whether a point is within a ring. */
function isWithin([x, y]: Corner, ring: Corner[]): boolean {
  return (
    ring.filter(([bx, by], at) => {
      const [ax, ay] = ring.at(at - 1) ?? [bx, by]
      return ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)
    }).length %
      2 ===
    1
  )
}

/** Lists points that are in two polygons, or in a hole and not in its exterior. */
function misplaced({ width, height, polygons }: Outline): Corner[] {
  const rings = polygons.map(({ exterior, holes }) => ({ exterior: cornersOf(exterior), holes: holes.map(cornersOf) }))
  const points = Array.from(
    { length: width * height },
    (_, at): Corner => [(at % width) + 0.37, Math.floor(at / width) + 0.41],
  )
  return points.filter(point => {
    const around = rings.filter(({ exterior }) => isWithin(point, exterior))
    const inHole = (holes: Corner[][]) => holes.some(hole => isWithin(point, hole))
    const isLoose = rings.some(each => inHole(each.holes) && !around.includes(each))
    return isLoose || around.filter(({ holes }) => !inHole(holes)).length > 1
  })
}

t.test('no instance gets into another one, and no hole out of its exterior', async t => {
  const disc = (x: number, y: number, radius: number) => Math.hypot(x - 100, y - 100) <= radius
  const target = Array.from({ length: 200 }, (_, y) =>
    Array.from({ length: 200 }, (_, x) => (disc(x, y, 100) && (!disc(x, y, 14) || disc(x, y, 6)) ? '#' : '.')).join(''),
  )
  const cases: [string[], number][] = [
    [['#######', '#.....#', '#.....#', '#..#..#', '#.....#', '#.....#', '#######'], 4],
    [['##########', '##########', '##......##', '##..##..##', '##......##', '##......##'], 4],
    [target, 15],
    [target, 1000],
    // The hole that is left over has an area, on the wrong side.
    [
      [
        '.#.###..#',
        '#####..##',
        '######.##',
        '##.######',
        '#.#.##.##',
        '.#..##..#',
        '.#.###.##',
        '.#.....##',
        '#########',
        '.#.##..#.',
        '..###.###',
        '###......',
        '######..#',
        '.#...#..#',
        '##.##..##',
      ],
      3,
    ],
  ]
  for (const [rows, tolerance] of cases) {
    const exact = await traceOutline(drawn(...rows))
    const simple = await simplifyOutline(exact, tolerance)
    t.strictSame(misplaced(simple), [], `${rows.length} rows, ${tolerance}`)
    t.equal(simple.polygons.length, exact.polygons.length)
  }
  await fc.assert(
    fc.asyncProperty(MASKS, TOLERANCES, async (mask, tolerance) => {
      t.strictSame(misplaced(await simplifyOutline(await traceOutline(mask), tolerance)), [])
    }),
    { numRuns: 300 },
  )
})

t.test('a slope loses its steps', async t => {
  const rows = Array.from({ length: 40 }, (_, y) => '#'.repeat(y + 1).padEnd(40, '.'))
  const exact = await traceOutline(drawn(...rows))
  t.equal(exact.polygons[0]?.exterior.length, 2 * 82)
  const [simple] = (await simplifyOutline(exact, 1)).polygons
  t.ok((simple?.exterior.length ?? 99) <= 2 * 5)
})

t.test('a line of one pixel keeps its exact outline, and a hole of one pixel is removed', async t => {
  const line = await traceOutline(drawn('......', '.####.', '......'))
  t.strictSame((await simplifyOutline(line, 1)).polygons[0]?.exterior.length, 8)
  const hole = await traceOutline(drawn('#####', '#####', '##.##', '#####', '#####'))
  t.equal(hole.polygons[0]?.holes.length, 1)
  t.equal((await simplifyOutline(hole, 1)).polygons[0]?.holes.length, 0)
  t.equal((await simplifyOutline(hole, 0.5)).polygons[0]?.holes.length, 1)
})

t.test('a thin wall around a hole is not crossed', async t => {
  // The hole follows a rough outside at a distance of one pixel.
  const mask = drawn(
    '..#.....#.......',
    '.###.########...',
    '####.##......##.',
    '##.###.######.##',
    '#.#..#.#....#..#',
    '#..#........#.##',
    '##.#######.##.#.',
    '.###.....###.##.',
    '...............#',
  )
  const exact = await traceOutline(mask)
  for (const tolerance of [0.5, 1, 2, 4]) t.strictSame(crossings(await simplifyOutline(exact, tolerance)), [])
})

t.test('0 changes nothing', async t => {
  const mask = drawn('##.', '.##', '#..')
  const exact = await simplifyOutline(await traceOutline(mask), 0)
  t.strictSame(filled(mask, ringsOf(exact).map(cornersOf)), mask.data)
})
