import fc from 'fast-check'
import t from 'tap'
import { parsePoints } from '../../src/input/params.js'

t.test('points are parsed from lists and from JSON text', async t => {
  const cases: [unknown, unknown][] = [
    [undefined, undefined],
    ['', undefined],
    ['  ', undefined],
    ['[]', undefined],
    [[], undefined],
    ['[834,74]', [[834, 74]]],
    ['[[834,74]]', [[834, 74]]],
    [
      '[[839,74],[844,20]]',
      [
        [839, 74],
        [844, 20],
      ],
    ],
    [' [ [ 839 , 74 ] ] ', [[839, 74]]],
    ['[834.0,7.4e1]', [[834, 74]]],
    ['[0.5,1e-3]', [[0.5, 0.001]]],
    ['[-0,-0.0]', [[0, 0]]],
    [[834, 74], [[834, 74]]],
    [[[834, 74]], [[834, 74]]],
    [[-0, 0], [[0, 0]]],
    [Array(100).fill([1, 2]), Array(100).fill([1, 2])],
  ]
  for (const [value, points] of cases) t.strictSame(parsePoints('coordinates', value), points, JSON.stringify(value))
  t.ok(Object.is(parsePoints('coordinates', '[-0,0]')?.[0]?.[0], 0), '−0 becomes 0')
})

t.test('any other value is refused with the field, the value and the accepted values', async t => {
  const cases: [unknown, RegExp][] = [
    ['cat', /it was "cat"/],
    ['834,74', /it was "834,74"/],
    ['(834,74)', /it was/],
    ['[834,74', /it was/],
    ['{"x":1}', /it was/],
    ['null', /it was "null"/],
    ['7', /it was "7"/],
    ['"[1,2]"', /it was/],
    [`[${' '.repeat(70_000)}1,2]`, /it was longer than 65536 characters/],
    ['['.repeat(10_000_000), /it was longer/],
    [7, /it was 7/],
    [true, /it was true/],
    [{ x: 1, y: 2 }, /it was an object/],
    [[1], /it was \[1\]/],
    [[1, 2, 3], /it was \[1,2,3\]/],
    [[1, 2, 3, 4], /it was/],
    [['1', '2'], /it was \["1","2"\]/],
    [[1, null], /it was \[1,null\]/],
    [[[]], /point 1 was \[\]/],
    [[[1, 2], [3]], /point 2 was \[3\]/],
    [[[1, 2], 3], /point 2 was 3/],
    [[1, [2, 3]], /point 1 was 1/],
    [
      [
        [1, 2],
        ['a', 1],
      ],
      /point 2 was \["a",1\]/,
    ],
    [[[[1, 2]]], /point 1 was \[\[1,2\]\]/],
    ['[-1,5]', /it was \[-1,5\]/],
    ['[1e400,5]', /it was \[Infinity,5\]/],
    [[Number.NaN, 1], /it was \[NaN,1\]/],
    [Array(101).fill([1, 2]), /there were 101 points/],
    [`[${'[1,2],'.repeat(100)}[1,2]]`, /there were 101 points/],
    ['['.repeat(30_000) + ']'.repeat(30_000), /point 1 was/],
  ]
  for (const [value, message] of cases) {
    t.throws(() => parsePoints('remove_coordinates', value), {
      name: 'GatewayError',
      code: 'invalid_parameter',
      message,
    })
    t.throws(() => parsePoints('remove_coordinates', value), { message: /^remove_coordinates takes \[x,y\] or / })
  }
})

t.test('every list of points is parsed back from its JSON text', async () => {
  const coordinate = fc.double({ min: 0, max: 1e6, noNaN: true })
  fc.assert(
    fc.property(fc.array(fc.tuple(coordinate, coordinate), { minLength: 1, maxLength: 100 }), points => {
      const read = parsePoints('coordinates', JSON.stringify(points))
      return JSON.stringify(read) === JSON.stringify(points)
    }),
  )
})
