import fc from 'fast-check'
import t from 'tap'
import { doubleArea, traceOutline } from '../../src/images/outline.js'
import { type OutlineForm, writeOutline } from '../../src/images/outline-forms.js'
import type { GreyPixels } from '../../src/images/rle.js'
import { type Corner, drawn, filled, MASKS } from '../support/masks.js'

async function write(mask: GreyPixels, form: OutlineForm): Promise<string> {
  return (await writeOutline(await traceOutline(mask), form)).body.toString()
}

const RING = drawn('.....', '.###.', '.#.#.', '.###.', '#....')
const EMPTY = drawn('...', '...')

t.test('polygon: one entry an instance, with its holes and facts', async t => {
  t.strictSame(JSON.parse(await write(RING, 'polygon')), {
    width: 5,
    height: 5,
    bbox: [0, 1, 4, 4],
    area: 9,
    polygons: [
      {
        exterior: [
          [4, 1],
          [4, 4],
          [1, 4],
          [1, 1],
        ],
        holes: [
          [
            [3, 3],
            [3, 2],
            [2, 2],
            [2, 3],
          ],
        ],
        bbox: [1, 1, 3, 3],
        area: 8,
      },
      {
        exterior: [
          [1, 4],
          [1, 5],
          [0, 5],
          [0, 4],
        ],
        holes: [],
        bbox: [0, 4, 1, 1],
        area: 1,
      },
    ],
  })
})

t.test('geojson: a Feature with closed rings, and the facts as properties', async t => {
  const { type, geometry, properties, ...more } = JSON.parse(await write(RING, 'geojson'))
  t.strictSame([type, geometry.type, more], ['Feature', 'MultiPolygon', {}])
  const polygon = JSON.parse(await write(RING, 'polygon'))
  t.strictSame(
    geometry.coordinates,
    polygon.polygons.map(({ exterior, holes }: { exterior: Corner[]; holes: Corner[][] }) =>
      [exterior, ...holes].map(ring => [...ring, ring[0]]),
    ),
  )
  t.strictSame(properties, {
    ...polygon,
    polygons: polygon.polygons.map(({ bbox, area }: Record<string, unknown>) => ({ bbox, area })),
  })
})

t.test('yolo: a line an instance, in shares of width and height, without holes', async t => {
  t.equal(await write(RING, 'yolo'), '0 0.8 0.2 0.8 0.8 0.2 0.8 0.2 0.2\n0 0.2 0.8 0.2 1 0 1 0 0.8\n')
  t.equal(await write(drawn('#..'), 'yolo'), '0 0.333333 0 0.333333 1 0 1 0 0\n')
})

t.test('an empty mask has an empty outline', async t => {
  const facts = { width: 3, height: 2, bbox: [0, 0, 0, 0], area: 0, polygons: [] }
  t.strictSame(JSON.parse(await write(EMPTY, 'polygon')), facts)
  t.strictSame(JSON.parse(await write(EMPTY, 'geojson')), {
    type: 'Feature',
    geometry: { type: 'MultiPolygon', coordinates: [] },
    properties: facts,
  })
  t.equal(await write(EMPTY, 'yolo'), '')
})

t.test('each form names its type and has the facts of the mask', async t => {
  const outline = await traceOutline(RING)
  for (const [form, type] of [
    ['polygon', 'application/json; charset=utf-8'],
    ['geojson', 'application/geo+json'],
    ['yolo', 'text/plain; charset=utf-8'],
  ] as const) {
    const { contentType, mask } = await writeOutline(outline, form)
    t.strictSame([contentType, mask], [type, { bbox: [0, 1, 4, 4], area: 9 }])
  }
})

t.test('every form gives its mask back', () =>
  fc.assert(
    fc.asyncProperty(MASKS, async mask => {
      const { polygons } = JSON.parse(await write(mask, 'polygon'))
      const rings: Corner[][] = polygons.flatMap(({ exterior, holes }: never) => [exterior, ...(holes as [])])
      t.strictSame(filled(mask, rings), mask.data)

      const { geometry } = JSON.parse(await write(mask, 'geojson'))
      const closed: Corner[][] = geometry.coordinates.flat()
      t.ok(closed.every(ring => String(ring[0]) === String(ring.at(-1))))
      for (const [exterior, ...holes] of geometry.coordinates as Corner[][][]) {
        t.ok(doubleArea(exterior?.flat() ?? []) > 0, 'right-hand rule')
        t.ok(holes.every(hole => doubleArea(hole.flat()) < 0))
      }
      t.strictSame(filled(mask, closed), mask.data)

      const lines = (await write(mask, 'yolo')).split('\n').slice(0, -1)
      const exteriors = lines.map(line => {
        const [, ...shares] = line.split(' ').map(Number)
        t.ok(shares.every(share => share >= 0 && share <= 1))
        return Array.from(
          { length: shares.length / 2 },
          (_, at): Corner => [(shares[2 * at] ?? 0) * mask.width, (shares[2 * at + 1] ?? 0) * mask.height],
        )
      })
      for (const [at, exterior] of exteriors.entries())
        t.strictSame(filled(mask, [exterior]), filled(mask, [polygons[at].exterior]))
    }),
  ),
)

t.test('a long text is written in slices', async t => {
  const [width, height] = [400, 400]
  const data = Uint8Array.from(
    { length: width * height },
    (_, at) => ((at % width) + Math.floor(at / width)) % 2 && 255,
  )
  const outline = await traceOutline({ width, height, data })
  let turns = 0
  const timer = setInterval(() => turns++, 0)
  const { body } = await writeOutline(outline, 'geojson')
  clearInterval(timer)
  t.equal(JSON.parse(body.toString()).geometry.coordinates.length, 80_000)
  t.ok(turns > 0)
})
