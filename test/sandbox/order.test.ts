import t from 'tap'
import { readOrder } from '../../src/sandbox/order.js'

const image = Buffer.from('photo').toString('base64')

const refusals = [
  { why: 'no image', fields: { prompt: 'cat' }, status: 400, error: /image/ },
  { why: 'an image that is an object', fields: { image: {}, prompt: 'cat' }, status: 400, error: /image/ },
  { why: 'an empty image', fields: { image: '', prompt: 'cat' }, status: 400, error: /image/ },
  { why: 'an empty file', fields: { image: Buffer.alloc(0), prompt: 'cat' }, status: 400, error: /empty/ },
  {
    why: 'a data: URI',
    fields: { image: `data:image/png;base64,${image}`, prompt: 'cat' },
    status: 400,
    error: /data:/,
  },
  { why: 'a URL', fields: { image: 'https://photos.example/cat.jpg', prompt: 'cat' }, status: 400, error: /URL/ },
  { why: 'base64 with a line break', fields: { image: 'cGhv\ndG8=', prompt: 'cat' }, status: 400, error: /base64/ },
  { why: 'no selection', fields: { image }, status: 400, error: /prompt or coordinates/ },
  { why: 'a blank prompt', fields: { image, prompt: '  ' }, status: 400, error: /prompt or coordinates/ },
  { why: 'an empty list of points', fields: { image, coordinates: '[]' }, status: 400, error: /prompt or coordinates/ },
  {
    why: 'coordinates as an array',
    fields: { image, coordinates: [1, 2] },
    status: 422,
    error: /^coordinates .*string/,
  },
  {
    why: 'removed ones as an array',
    fields: { image, prompt: 'a', remove_coordinates: [[1, 2]] },
    status: 422,
    error: /^remove_coordinates/,
  },
  { why: 'coordinates that hold no JSON', fields: { image, coordinates: '1,2' }, status: 422, error: /coordinates/ },
  { why: 'a point of three numbers', fields: { image, coordinates: '[1,2,3]' }, status: 422, error: /coordinates/ },
  { why: 'a negative point', fields: { image, coordinates: '[-1,2]' }, status: 422, error: /coordinates/ },
  { why: 'a null prompt', fields: { image, prompt: null }, status: 422, error: /prompt/ },
  {
    why: 'overlay_mask as text',
    fields: { image, prompt: 'a', overlay_mask: 'true' },
    status: 422,
    error: /overlay_mask/,
  },
  { why: 'base64 as a number', fields: { image, prompt: 'a', base64: 1 }, status: 422, error: /base64/ },
  { why: 'an unknown trigger', fields: { image, prompt: 'sandbox:nonsense' }, status: 400, error: /trigger/ },
]
for (const { why, fields, ...expected } of refusals) {
  t.test(`${why} is refused with ${expected.status}`, async t => {
    t.match(readOrder(fields), expected)
  })
}

t.test('one point and a list of one mean the same', async t => {
  t.strictSame(readOrder({ image, coordinates: '[3, 4]' }), readOrder({ image, coordinates: '[[3.0,4]]' }))
})

t.test('defaults are an overlay and no base64', async t => {
  t.match(readOrder({ image, prompt: ' cat ' }), {
    overlay: true,
    base64: false,
    prompt: 'cat',
    points: [],
    removed: [],
  })
})

t.test('a prompt makes coordinates meaningless to the question', async t => {
  const alone = readOrder({ image, prompt: 'cat' })
  const both = readOrder({ image, prompt: 'cat', coordinates: '[1,2]' })
  t.ok('question' in alone && 'question' in both && alone.question === both.question)
})

t.test('a prompt of triggers alone leaves the coordinates in force', async t => {
  const order = readOrder({ image, prompt: 'sandbox:cut', coordinates: '[1,2]' })
  t.match(order, { points: [[1, 2]], triggers: { fate: 'cut' } })
  t.notOk('prompt' in order)
})
