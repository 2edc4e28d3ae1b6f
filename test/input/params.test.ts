import t from 'tap'
import type { FormFields } from '../../src/input/form.js'
import { parseParams } from '../../src/input/params.js'

const parse = (fields: FormFields, base64Default = false) => parseParams(fields, { base64Default })

t.test('fields become canonical params', async t => {
  const cases: [FormFields, object][] = [
    [{ prompt: 'cat' }, { prompt: 'cat', overlayMask: true }],
    [{ prompt: ' \n cat\u00a0' }, { prompt: 'cat', overlayMask: true }],
    [{ prompt: 'a  b\nc' }, { prompt: 'a  b\nc', overlayMask: true }],
    [{ coordinates: '[1,2]' }, { coordinates: [[1, 2]], overlayMask: true }],
    [
      { coordinates: [[1, 2]], prompt: '' },
      { coordinates: [[1, 2]], overlayMask: true },
    ],
    [
      { coordinates: [[1, 2]], prompt: '  ' },
      { coordinates: [[1, 2]], overlayMask: true },
    ],
    [
      { prompt: 'cat', coordinates: '' },
      { prompt: 'cat', overlayMask: true },
    ],
    [
      { prompt: 'cat', remove_coordinates: '[]' },
      { prompt: 'cat', overlayMask: true },
    ],
    [
      { prompt: 'cat', remove_coordinates: [3, 4] },
      { prompt: 'cat', removeCoordinates: [[3, 4]], overlayMask: true },
    ],
    [
      { coordinates: [1, 2], remove_coordinates: [3, 4], overlay_mask: 'False' },
      { coordinates: [[1, 2]], removeCoordinates: [[3, 4]], overlayMask: false },
    ],
  ]
  for (const [fields, params] of cases) t.strictSame(parse(fields).params, params, JSON.stringify(fields))
})

t.test('coordinates beside a prompt are dropped and reported as ignored', async t => {
  t.strictSame(parse({ prompt: 'cat', coordinates: '[1,2]' }), {
    params: { prompt: 'cat', overlayMask: true },
    base64: false,
    ignoredFields: ['coordinates'],
  })
  t.strictSame(parse({ prompt: 'cat', coordinates: '[]' }).ignoredFields, [])
  t.strictSame(parse({ prompt: '', coordinates: '[1,2]' }).ignoredFields, [])
  t.strictSame(parse({ coordinates: '[1,2]' }).ignoredFields, [])
  // `"1"` is the default that Segmind documents.
  for (const coordinates of ['1', 'nonsense', '[[1]]', 7, { x: 1 }])
    t.strictSame(parse({ prompt: 'cat', coordinates }).ignoredFields, ['coordinates'])
  t.throws(() => parse({ prompt: 'cat', remove_coordinates: 'nonsense' }), {
    code: 'invalid_parameter',
    message: /^remove_coordinates /,
  })
})

t.test('booleans are accepted as Python, curl, browsers and JSON send them', async t => {
  const yes = [true, 1, 'true', 'True', 'TRUE', '1', 'yes', 'Yes', 'on', ' true ']
  const no = [false, 0, 'false', 'False', 'FALSE', '0', 'no', 'NO', 'off', 'false\n']
  for (const value of yes) {
    const parsed = parse({ prompt: 'x', overlay_mask: value, base64: value })
    t.same([parsed.params.overlayMask, parsed.base64], [true, true], JSON.stringify(value))
  }
  for (const value of no) {
    const parsed = parse({ prompt: 'x', overlay_mask: value, base64: value }, true)
    t.same([parsed.params.overlayMask, parsed.base64], [false, false], JSON.stringify(value))
  }
})

t.test('a boolean that is absent has its default, and one that is blank is refused', async t => {
  for (const base64 of [false, true]) t.match(parse({ prompt: 'x' }, base64), { params: { overlayMask: true }, base64 })
  // PHP and Perl write false as empty text.
  for (const field of ['overlay_mask', 'base64'])
    for (const value of ['', ' '])
      t.throws(() => parse({ prompt: 'x', [field]: value }), { code: 'invalid_parameter', message: /it was empty/ })
})

t.test('a request without prompt and coordinates is refused with missing_selection', async t => {
  const cases: FormFields[] = [
    {},
    { prompt: '' },
    { coordinates: '[]' },
    { prompt: ' ', coordinates: '' },
    { remove_coordinates: '[1,2]' },
    { overlay_mask: 'true' },
  ]
  for (const fields of cases) t.throws(() => parse(fields), { code: 'missing_selection' }, JSON.stringify(fields))
})

t.test('an invalid value is refused with the field, the value and the accepted values', async t => {
  const cases: [FormFields, RegExp][] = [
    [{ prompt: 'x'.repeat(1001) }, /^prompt takes text of 1–1000 characters; it was longer/],
    [{ prompt: '🐈'.repeat(1001) }, /^prompt .*longer/],
    [{ prompt: 'x'.repeat(1_000_000) }, /^prompt .*longer/],
    [{ prompt: 'cat\0' }, /^prompt .*NUL/],
    [{ prompt: 'cat\ud83d' }, /^prompt .*surrogate/],
    [{ prompt: '\udc08cat' }, /^prompt .*surrogate/],
    [{ prompt: 'gr\ufffd\ufffder' }, /^prompt .*broken encoding \(it has U\+FFFD/],
    [{ prompt: 7 }, /^prompt .*it was 7/],
    [{ prompt: ['cat'] }, /^prompt .*it was \["cat"\]/],
    [{ prompt: {} }, /^prompt .*it was an object/],
    [{ coordinates: 'x' }, /^coordinates /],
    [{ prompt: 'x', remove_coordinates: 'x' }, /^remove_coordinates /],
    [{ prompt: 'x', overlay_mask: 'maybe' }, /^overlay_mask takes a boolean \(true, .*; it was "maybe"/],
    [{ prompt: 'x', overlay_mask: 2 }, /^overlay_mask .*it was 2/],
    [{ prompt: 'x', overlay_mask: {} }, /^overlay_mask .*it was an object/],
    [{ prompt: 'x', base64: 'truetrue' }, /^base64 .*it was "truetrue"/],
    [{ prompt: 'x', base64: ['true'] }, /^base64 /],
    [{ prompt: 'x', base64: 'constructor' }, /^base64 /],
  ]
  for (const [fields, message] of cases) {
    t.throws(() => parse(fields), { name: 'GatewayError', code: 'invalid_parameter', message }, message.source)
  }
})

t.test('the length of a prompt is counted in code points', async t => {
  t.equal(parse({ prompt: ` ${'🐈'.repeat(1000)} ` }).params.prompt, '🐈'.repeat(1000))
  t.equal(parse({ prompt: 'x'.repeat(1000) }).params.prompt?.length, 1000)
})
