import t from 'tap'
import { parseOutputForm } from '../../src/input/output-form.js'

t.test('outlines have a tolerance, 1 pixel unless the request states another', t => {
  const cases: [object, object][] = [
    [{}, {}],
    [{ output: ' ', simplify: '' }, {}],
    [{ output: 'rle' }, { output: 'rle' }],
    [{ output: 'rle', simplify: ' ' }, { output: 'rle' }],
    [{ output: 'polygon' }, { output: 'polygon', simplify: 1 }],
    [
      { output: 'polygon', simplify: '1.0' },
      { output: 'polygon', simplify: 1 },
    ],
    [
      { output: 'GeoJSON', simplify: 1 },
      { output: 'geojson', simplify: 1 },
    ],
    [
      { output: 'yolo', simplify: ' 0 ' },
      { output: 'yolo', simplify: 0 },
    ],
    [
      { output: 'yolo', simplify: -0 },
      { output: 'yolo', simplify: 0 },
    ],
    [
      { output: 'yolo', simplify: '.5' },
      { output: 'yolo', simplify: 0.5 },
    ],
    [
      { output: 'yolo', simplify: '1000' },
      { output: 'yolo', simplify: 1000 },
    ],
  ]
  for (const [fields, form] of cases) t.strictSame(parseOutputForm(fields), form, JSON.stringify(fields))
  t.ok(Object.is(parseOutputForm({ output: 'yolo', simplify: -0 }).simplify, 0))
  t.end()
})

t.test('every tolerance is taken again as the text of a URL', t => {
  for (const simplify of [1e-7, '0.00000012', 0.0005, 1 / 3, 999.9999, Number.MIN_VALUE]) {
    const form = parseOutputForm({ output: 'polygon', simplify })
    t.strictSame(parseOutputForm({ output: 'polygon', simplify: String(form.simplify) }), form, String(simplify))
  }
  t.end()
})

t.test('another tolerance is refused by name', t => {
  for (const simplify of ['-1', -1, '1e2', '0x10', 'Infinity', Number.NaN, 1000.5, '1,5', 'much', true, [1], {}, null])
    t.throws(() => parseOutputForm({ output: 'polygon', simplify }), {
      code: 'invalid_parameter',
      message: /^simplify takes a number of pixels from 0 to 1000; it was /,
    })
  t.end()
})

t.test('a tolerance of anything but an outline is refused', t => {
  for (const [output, reason] of [
    [undefined, 'output was not given'],
    ['overlay', 'output=overlay has no outline'],
    ['mask', 'output=mask has no outline'],
    ['cutout', 'output=cutout has no outline'],
    ['rle', 'output=rle has no outline'],
  ])
    t.throws(() => parseOutputForm({ output, simplify: 1 }), {
      code: 'invalid_parameter',
      message: `simplify works with output=polygon, geojson, yolo; ${reason}. Leave it out.`,
    })
  t.end()
})
