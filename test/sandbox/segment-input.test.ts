import t from 'tap'
import { parseInput } from '../../src/sandbox/segment-input.js'

const image = Buffer.from('photo').toString('base64')

const rejections = [
  { name: 'no image', fields: { prompt: 'cat' }, status: 400, error: /image/ },
  { name: 'an image that is an object', fields: { image: {}, prompt: 'cat' }, status: 400, error: /image/ },
  { name: 'an empty image', fields: { image: '', prompt: 'cat' }, status: 400, error: /image/ },
  { name: 'an empty file', fields: { image: Buffer.alloc(0), prompt: 'cat' }, status: 400, error: /empty/ },
  {
    name: 'a data: URI',
    fields: { image: `data:image/png;base64,${image}`, prompt: 'cat' },
    status: 400,
    error: /data:/,
  },
  { name: 'a URL', fields: { image: 'https://photos.example/cat.jpg', prompt: 'cat' }, status: 400, error: /URL/ },
  { name: 'base64 with a line break', fields: { image: 'cGhv\ndG8=', prompt: 'cat' }, status: 400, error: /base64/ },
  { name: 'no selection', fields: { image }, status: 400, error: /prompt or coordinates/ },
  { name: 'a blank prompt', fields: { image, prompt: '  ' }, status: 400, error: /prompt or coordinates/ },
  {
    name: 'an empty list of points',
    fields: { image, coordinates: '[]' },
    status: 400,
    error: /prompt or coordinates/,
  },
  {
    name: 'coordinates as an array',
    fields: { image, coordinates: [1, 2] },
    status: 422,
    error: /^coordinates .*string/,
  },
  {
    name: 'remove_coordinates as an array',
    fields: { image, prompt: 'a', remove_coordinates: [[1, 2]] },
    status: 422,
    error: /^remove_coordinates/,
  },
  { name: 'coordinates without JSON', fields: { image, coordinates: '1,2' }, status: 422, error: /coordinates/ },
  { name: 'a point of three numbers', fields: { image, coordinates: '[1,2,3]' }, status: 422, error: /coordinates/ },
  { name: 'a negative point', fields: { image, coordinates: '[-1,2]' }, status: 422, error: /coordinates/ },
  { name: 'a null prompt', fields: { image, prompt: null }, status: 422, error: /prompt/ },
  {
    name: 'overlay_mask as text',
    fields: { image, prompt: 'a', overlay_mask: 'true' },
    status: 422,
    error: /overlay_mask/,
  },
  { name: 'base64 as a number', fields: { image, prompt: 'a', base64: 1 }, status: 422, error: /base64/ },
  { name: 'an unknown trigger', fields: { image, prompt: 'sandbox:nonsense' }, status: 400, error: /trigger/ },
]
for (const { name, fields, ...expected } of rejections) {
  t.test(`${name} is rejected with ${expected.status}`, async t => {
    t.match(parseInput(fields), expected)
  })
}

t.test('a point and a list of one point are equal', async t => {
  t.strictSame(parseInput({ image, coordinates: '[3, 4]' }), parseInput({ image, coordinates: '[[3.0,4]]' }))
})

t.test('the default is an overlay and no base64', async t => {
  t.match(parseInput({ image, prompt: ' cat ' }), {
    overlay: true,
    base64: false,
    prompt: 'cat',
    points: [],
    removed: [],
  })
})

t.test('coordinates next to a prompt do not change the question', async t => {
  const alone = parseInput({ image, prompt: 'cat' })
  const both = parseInput({ image, prompt: 'cat', coordinates: '[1,2]' })
  t.ok('question' in alone && 'question' in both && alone.question === both.question)
})

t.test('coordinates apply when a prompt has only triggers', async t => {
  const input = parseInput({ image, prompt: 'sandbox:cut', coordinates: '[1,2]' })
  t.match(input, { points: [[1, 2]], triggers: { disruption: 'cut' } })
  t.notOk('prompt' in input)
})
