import fc from 'fast-check'
import t from 'tap'
import { describeKind, describeName, describeNames, describeValue } from '../../src/input/describe.js'

t.test('a value is described in a few printable characters', async t => {
  const cases: [unknown, string][] = [
    ['cat', '"cat"'],
    ['', '""'],
    ['a\nb\0', '"a\\nb\\u0000"'],
    ['\u202e\u2028', '"\ufffd\ufffd"'],
    [7, '7'],
    [null, 'null'],
    [true, 'true'],
    [undefined, 'undefined'],
    [{ a: 1 }, 'an object'],
    [[1, 'x', null], '[1,"x",null]'],
    [[[1, [2]], {}], '[[1,[…]],an object]'],
    [[1, 2, 3, 4, 5], '[1,2,3,4,…]'],
  ]
  for (const [value, description] of cases) t.equal(describeValue(value), description)
})

t.test('a long value is cut, but not inside a character', async t => {
  t.equal(describeValue('x'.repeat(1000)), `"${'x'.repeat(58)}…`)
  t.equal(describeValue(`${'x'.repeat(57)}${'🐈'.repeat(9)}`), `"${'x'.repeat(57)}…`)
})

t.test('a deeply nested value is described without a full traversal', async t => {
  const depth = 100_000
  t.equal(describeValue(JSON.parse('['.repeat(depth) + ']'.repeat(depth))), '[[[…]]]')
})

t.test('every description is short and printable', async () => {
  fc.assert(
    fc.property(fc.anything({ withBigInt: false }), fc.string({ unit: 'binary' }), (value, text) =>
      [value, text, [text, text]].every(each => {
        const description = describeValue(typeof each === 'symbol' ? 'x' : each)
        return description.length <= 60 && !/[\p{Cc}\p{Cs}]/u.test(description)
      }),
    ),
  )
})

t.test('the kind of each JSON value is described', async t => {
  t.same([{}, [], 'x', 1, true, null].map(describeKind), [
    'an object',
    'a list',
    'a string',
    'a number',
    'a boolean',
    'null',
  ])
})

t.test('names are quoted, and only the first of many are listed', async t => {
  t.equal(describeName('a"b'), '"a\\"b"')
  t.equal(describeName(''), '(without a name)')
  t.equal(describeName(undefined), '(without a name)')
  t.equal(describeNames(['a', 'b']), '"a", "b"')
  t.equal(describeNames([...'abcdefg']), '"a", "b", "c", "d", "e" and 2 more')
})
