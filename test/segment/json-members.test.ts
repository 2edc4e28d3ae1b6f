import fc from 'fast-check'
import t from 'tap'
import { repeatedMembers, scanMembers } from '../../src/segment/json-members.js'
import { SEGMENT_FORM } from '../../src/segment/upload.js'

const repeatedIn = (text: string): string[] => [...repeatedMembers(scanMembers(text, SEGMENT_FORM))]

t.test('members that occur twice in the outermost object are found', async t => {
  const cases: [string, string[]][] = [
    ['{}', []],
    ['{"a":1,"b":2}', []],
    ['{"a":1,"a":2}', ['a']],
    ['{"a":1,"b":2,"a":3,"a":4,"b":5}', ['a', 'b']],
    [' { "a" : "a" , "b" : "a" } ', []],
    ['{"a":{"a":1,"b":2},"b":[{"a":1},{"a":2}]}', []],
    ['{"a":"\\"a\\":1","b":"{","c":"}","a":[]}', ['a']],
    ['{"a\\\\":1,"a\\\\":2}', ['a\\']],
    ['{"a":"\\\\","a":"\\\\\\""}', ['a']],
    ['{"\\u0061":1,"a":2}', ['a']],
    ['{"":1,"":2}', ['']],
    ['{"__proto__":1,"__proto__":2}', ['__proto__']],
    ['{"a":["x","y"],"x":":","y":1}', []],
  ]
  for (const [text, repeated] of cases) t.same(repeatedIn(text).sort(), repeated, text)
})

/** Any JSON object within the limits. */
const smallObject = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 }), { minKeys: 1, maxKeys: 10 })

t.test('an object written by JSON.stringify never has one', async () => {
  fc.assert(fc.property(smallObject, object => repeatedIn(JSON.stringify(object)).length === 0))
})

t.test('members written twice are found among any others', async () => {
  fc.assert(
    fc.property(smallObject, fc.nat(), (object, pick) => {
      const names = Object.keys(object)
      const name = names[pick % names.length] as string
      const text = `${JSON.stringify(object).slice(0, -1)},${JSON.stringify(name)}:0}`
      return repeatedIn(text).join() === name
    }),
  )
})

t.test('the largest sensible body passes, whatever its strings hold', async t => {
  const points = Array.from({ length: 100 }, (_, index) => [index, 1 / 3])
  const image = '[{"\\,:}]'.repeat(100_000)
  const body = { image, coordinates: points, remove_coordinates: points, prompt: ',:'.repeat(500), base64: true }
  t.same(
    scanMembers(JSON.stringify(body, null, 2), SEGMENT_FORM).map(name => JSON.parse(name)),
    Object.keys(body),
  )
})

t.test('more than any request needs is refused before it is parsed, valid or not', async t => {
  const members = (count: number): string => Array.from({ length: count }, (_, index) => `"m${index}":1`).join()
  const cases: [string, RegExp][] = [
    [`{${members(33)}}`, /more than 32 members/],
    [`{${'"a":1,'.repeat(33)}"a":1}`, /more than 32 members/],
    ['{"a":[[[[1]]]]}', /more than 4 levels/],
    ['{"a":{"a":{"a":{"a":{}}}}}', /more than 4 levels/],
    ['['.repeat(1_000_000), /more than 4 levels/],
    [`{"a":[${'[1,2],'.repeat(1100)}[1,2]]}`, /more than 4096 values/],
    [`[${'1,'.repeat(4096)}1]`, /more than 4096 values/],
    [`[${'""'.repeat(4096)}]`, /more than 4096 values/],
    [`{"a":{${members(2000)}}}`, /more than 4096 values/],
    [`{${':'.repeat(5000)}`, /more than 4096 values/],
    ['}'.repeat(5000), /more than 4096 values/],
  ]
  for (const [text, message] of cases) {
    t.throws(
      () => scanMembers(text, SEGMENT_FORM),
      { name: 'GatewayError', code: 'invalid_request', message },
      text.slice(0, 40),
    )
  }
  t.equal(scanMembers(`{${members(32)}}`, SEGMENT_FORM).length, 32)
  t.doesNotThrow(() => scanMembers('{"a":[[[1]]]}', SEGMENT_FORM))
})

t.test('a text that is no JSON is looked over to its end', async () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'"\\{}[]:,a1 ') }), text => {
      try {
        return Array.isArray(scanMembers(text, SEGMENT_FORM))
      } catch (error) {
        return (error as Error).name === 'GatewayError'
      }
    }),
  )
})
