import fc from 'fast-check'
import t from 'tap'
import { SEGMENT_FORM } from '../../src/input/form.js'
import { repeatedMembers, scanMembers } from '../../src/input/json-members.js'

const scan = (text: string) => scanMembers(Buffer.from(text), SEGMENT_FORM)
const repeatedIn = (text: string): string[] => [...repeatedMembers(scan(text))]

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

t.test('an object written by JSON.stringify has no repeated members', async () => {
  fc.assert(fc.property(smallObject, object => repeatedIn(JSON.stringify(object)).length === 0))
})

t.test('repeated members are found among any others', async () => {
  fc.assert(
    fc.property(smallObject, fc.nat(), (object, pick) => {
      const names = Object.keys(object)
      const name = names[pick % names.length] as string
      const text = `${JSON.stringify(object).slice(0, -1)},${JSON.stringify(name)}:0}`
      return repeatedIn(text).join() === name
    }),
  )
})

t.test('the text of a member is found where it is a string of the outermost object', async t => {
  const texts = (json: string) =>
    scan(json).map(({ name, text }) => [name, text && Buffer.from(json).toString('utf8', text.start, text.end)])
  t.same(texts('{"a":"x\\"y","b":1,"c":["z"],"d" : "ü" , "e":{"f":"g"}}'), [
    ['"a"', 'x\\"y'],
    ['"b"', undefined],
    ['"c"', undefined],
    ['"d"', 'ü'],
    ['"e"', undefined],
  ])
})

t.test('the largest sensible body is accepted, whatever its strings contain', async t => {
  const points = Array.from({ length: 100 }, (_, index) => [index, 1 / 3])
  const image = '[{"\\,:}]'.repeat(100_000)
  const body = { image, coordinates: points, remove_coordinates: points, prompt: ',:'.repeat(500), base64: true }
  t.same(
    scan(JSON.stringify(body, null, 2)).map(({ name }) => JSON.parse(name)),
    Object.keys(body),
  )
})

t.test('a body beyond the limits is refused before it is parsed, valid or not', async t => {
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
    [`{"${'a'.repeat(2000)}":1}`, /a name of more than 1024 bytes/],
    [`{${':'.repeat(5000)}`, /more than 4096 values/],
    ['}'.repeat(5000), /more than 4096 values/],
  ]
  for (const [text, message] of cases) {
    t.throws(() => scan(text), { name: 'GatewayError', code: 'invalid_request', message }, text.slice(0, 40))
  }
  t.equal(scan(`{${members(32)}}`).length, 32)
  t.doesNotThrow(() => scan('{"a":[[[1]]]}'))
})

t.test('text that is not JSON is scanned to its end', async () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'"\\{}[]:,a1 ') }), text => {
      try {
        return Array.isArray(scan(text))
      } catch (error) {
        return (error as Error).name === 'GatewayError'
      }
    }),
  )
})
