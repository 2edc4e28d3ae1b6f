import fc from 'fast-check'
import t from 'tap'
import { doubleArea, traceOutline } from '../../src/images/outline.js'
import type { GreyPixels } from '../../src/images/rle.js'
import { cornersOf, drawn, filled, MASKS, ringsOf } from '../support/masks.js'

interface Instance {
  area: number
  bbox: number[]
}

/** Finds the instances by flood fill over shared edges, in the order of their first pixel. */
function floodFilled({ width, height, data }: GreyPixels): Instance[] {
  const rest = new Set([...data.keys()].filter(at => (data[at] ?? 0) >= 128))
  const instances: Instance[] = []
  for (const first of rest) {
    const [pixels, waiting] = [[] as number[], [first]]
    rest.delete(first)
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      pixels.push(at)
      const x = at % width
      const beside = [x > 0 ? at - 1 : -1, x < width - 1 ? at + 1 : -1, at - width, at + width]
      for (const next of beside) if (rest.delete(next)) waiting.push(next)
    }
    const [xs, ys] = [pixels.map(at => at % width), pixels.map(at => Math.floor(at / width))]
    const [left, top] = [Math.min(...xs), Math.min(...ys)]
    instances.push({
      area: pixels.length,
      bbox: [left, top, Math.max(...xs) - left + 1, Math.max(...ys) - top + 1],
    })
  }
  t.ok(height > 0)
  return instances
}

async function check(mask: GreyPixels): Promise<void> {
  const outline = await traceOutline(mask)
  const rings = ringsOf(outline)
  const corners = rings.map(cornersOf)
  t.strictSame(filled(mask, corners), mask.data, 'filling gives the mask back')
  const instances = floodFilled(mask)
  t.strictSame(
    outline.polygons.map(({ area, bbox }) => ({ area, bbox: [...bbox] })),
    instances,
  )
  t.equal(
    outline.area,
    instances.reduce((sum, { area }) => sum + area, 0),
  )
  const sides = new Set<string>()
  for (const ring of corners) {
    t.ok(ring.length >= 4)
    t.equal(new Set(ring.map(String)).size, ring.length, 'a ring visits no corner twice')
    ring.forEach(([x, y], at) => {
      const [fromX, fromY] = ring.at(at - 1) ?? [0, 0]
      const [laterX] = ring[(at + 1) % ring.length] ?? [0, 0]
      t.ok((x === fromX) !== (y === fromY), 'every side is horizontal or vertical')
      t.not(x === fromX, x === laterX, 'every corner is one')
      const steps = Math.abs(x - fromX) + Math.abs(y - fromY)
      for (let step = 0; step < steps; step++) {
        const side = `${Math.min(x, fromX) + (y === fromY ? step : 0)} ${Math.min(y, fromY) + (x === fromX ? step : 0)}`
        const name = `${side} ${x === fromX}`
        t.notOk(sides.has(name), 'no side is shared')
        sides.add(name)
      }
    })
  }
  for (const { exterior, holes, area } of outline.polygons) {
    t.ok(doubleArea(exterior) > 0, 'an exterior is positive')
    t.ok(
      holes.every(hole => doubleArea(hole) < 0),
      'a hole is negative',
    )
    const own = filled(mask, [exterior, ...holes].map(cornersOf))
    t.equal(own.filter(Boolean).length, area, 'holes are inside their exterior')
  }
}

const KINDS = {
  empty: drawn('...', '...'),
  full: drawn('###', '###'),
  'one pixel': drawn('#'),
  'one pixel that is not selected': drawn('.'),
  'a row': drawn('.##.#'),
  'a column': drawn('#', '.', '#', '#'),
  'a chessboard': drawn('#.#.', '.#.#', '#.#.', '.#.#'),
  'an inverse chessboard': drawn('.#.#', '#.#.', '.#.#', '#.#.'),
  'nested rings': drawn('#######', '#.....#', '#.###.#', '#.#.#.#', '#.###.#', '#.....#', '#######'),
  'a ring whose ends touch at a corner': drawn('####', '#..#', '#.#.', '###.'),
  'holes that touch at a corner': drawn('####', '#.##', '##.#', '####'),
  'holes that touch the outside at corners': drawn('.###', '#.##', '##.#', '###.'),
  'crossed lines': drawn('#...#', '.#.#.', '..#..', '.#.#.', '#...#'),
  'a comb': drawn('#.#.#', '#.#.#', '#####'),
  'an instance in the hole of another': drawn('#####', '#...#', '#.#.#', '#...#', '#####'),
}

for (const [kind, mask] of Object.entries(KINDS)) t.test(`an outline is exact: ${kind}`, () => check(mask))

t.test('the outline of every mask is exact', () => fc.assert(fc.asyncProperty(MASKS, check), { numRuns: 300 }))

t.test('an outline runs along pixel corners, holes the other way round', async t => {
  const { polygons, ...facts } = await traceOutline(drawn('####', '#.##', '####', '...#'))
  t.strictSame(facts, { width: 4, height: 4, bbox: [0, 0, 4, 4], area: 12 })
  t.strictSame(
    polygons.map(({ exterior, holes }) => [exterior, ...holes].map(sorted)),
    [
      [
        ['0,0', '0,3', '3,3', '3,4', '4,0', '4,4'],
        ['1,1', '1,2', '2,1', '2,2'],
      ],
    ],
  )
})

function sorted(ring: Int32Array): string[] {
  return cornersOf(ring).map(String).sort()
}

t.test('pixels that touch at a corner are separate instances, and holes that touch are separate rings', async t => {
  t.equal((await traceOutline(drawn('#.', '.#'))).polygons.length, 2)
  const { polygons } = await traceOutline(KINDS['holes that touch at a corner'])
  t.equal(polygons.length, 1)
  t.equal(polygons[0]?.holes.length, 2)
  t.equal((await traceOutline(KINDS['a ring whose ends touch at a corner'])).polygons[0]?.holes.length, 1)
})

t.test('an outline with too many corners is refused', async t => {
  await t.rejects(traceOutline(KINDS['a chessboard'], 31), {
    code: 'invalid_parameter',
    message: /more than 31 corners/,
  })
  t.equal((await traceOutline(KINDS['a chessboard'], 32)).polygons.length, 8)
})

t.test('large masks yield to the event loop, also within one ring', async t => {
  const [width, height] = [2_000, 1_000]
  const comb = Uint8Array.from({ length: width * height }, (_, at) => (at % width === 0 || (at / width) & 2 ? 255 : 0))
  let turns = 0
  const timer = setInterval(() => turns++, 0)
  const { area, polygons } = await traceOutline({ width, height, data: comb })
  clearInterval(timer)
  t.equal(polygons.length, 1)
  t.equal(area, comb.filter(Boolean).length)
  t.ok(turns > 0)
})
