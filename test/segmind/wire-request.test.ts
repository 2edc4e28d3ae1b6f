import fc from 'fast-check'
import t from 'tap'
import type { ImageBytes, Params } from '../../src/contracts/types.js'
import { segmentBody } from '../../src/segmind/wire-request.js'

const imageOf = (chunks: Buffer[]): ImageBytes => ({
  type: 'jpeg',
  digest: '0'.repeat(64),
  chunks,
  byteLength: chunks.reduce((sum, chunk) => sum + chunk.length, 0),
})

const cut = (bytes: Buffer, at: number[]): Buffer[] => {
  const borders = [0, ...at.map(place => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return borders.slice(1).map((border, index) => bytes.subarray(borders[index], border))
}

const point = fc.tuple(fc.double({ min: 0, max: 1e5, noNaN: true }), fc.integer({ min: 0, max: 1e5 }))
const points = fc.array(point, { minLength: 1, maxLength: 5 })
const params = fc.oneof(
  fc.record({ prompt: fc.string({ unit: 'binary', minLength: 1 }), overlayMask: fc.boolean() }),
  fc.record({ coordinates: points, overlayMask: fc.boolean() }),
  fc.record({ coordinates: points, removeCoordinates: points, overlayMask: fc.boolean() }),
)

/** Builds the expected body with JSON.stringify. */
const plain = (bytes: Buffer, { prompt, coordinates, removeCoordinates, overlayMask }: Params) =>
  JSON.stringify({
    image: bytes.toString('base64'),
    prompt,
    coordinates: coordinates && JSON.stringify(coordinates),
    remove_coordinates: removeCoordinates && JSON.stringify(removeCoordinates),
    overlay_mask: overlayMask,
    base64: false,
  })

t.test('the body is plain JSON for any division of the image into chunks', async t => {
  const image = fc.uint8Array({ maxLength: 400 }).map(bytes => Buffer.from(bytes))
  fc.assert(
    fc.property(image, fc.array(fc.nat({ max: 400 }), { maxLength: 12 }), params, (bytes, borders, params) => {
      const body = segmentBody(imageOf(cut(bytes, borders)), params)
      const encoded = body.encode()
      return body.byteLength === encoded.length && encoded.toString('utf8') === plain(bytes, params)
    }),
    { numRuns: 500 },
  )
  t.pass()
})

t.test('chunks longer than one slice are encoded completely', async t => {
  const bytes = Buffer.from(Array.from({ length: 200_003 }, (_, index) => (index * 31) % 251))
  for (const borders of [[], [1], [65_536, 131_072], [49_152], [49_151, 49_153], [98_305, 98_306, 98_307]]) {
    const body = segmentBody(imageOf(cut(bytes, borders)), { prompt: 'cat', overlayMask: true }).encode()
    t.equal(body.toString(), plain(bytes, { prompt: 'cat', overlayMask: true }), `borders at ${borders}`)
  }
})

const CASES: { title: string; params: Params; fields: Record<string, unknown> }[] = [
  {
    title: 'a prompt omits coordinates, which Segmind would ignore',
    params: { prompt: 'the “cat”', coordinates: [[1, 2]], overlayMask: true },
    fields: { prompt: 'the “cat”', overlay_mask: true, base64: false },
  },
  {
    title: 'points are sent as a string that contains a JSON list, also for one point',
    params: { coordinates: [[834, 74.5]], overlayMask: false },
    fields: { coordinates: '[[834,74.5]]', overlay_mask: false, base64: false },
  },
  {
    title: 'points to remove can accompany a prompt',
    params: { prompt: 'cat', removeCoordinates: [[0, 0]], overlayMask: true },
    fields: { prompt: 'cat', remove_coordinates: '[[0,0]]', overlay_mask: true, base64: false },
  },
]

for (const { title, params, fields } of CASES) {
  t.test(title, async t => {
    const { image, ...rest } = JSON.parse(
      segmentBody(imageOf([Buffer.from('hello')]), params)
        .encode()
        .toString(),
    )
    t.same(rest, fields)
    t.equal(image, 'aGVsbG8=')
  })
}

t.test('the body length follows the chunks, not byteLength, so no uninitialised memory is sent', async t => {
  const body = segmentBody({ ...imageOf([Buffer.from('hello')]), byteLength: 5000 }, { prompt: 'a', overlayMask: true })
  t.equal(body.encode().toString(), plain(Buffer.from('hello'), { prompt: 'a', overlayMask: true }))
})
