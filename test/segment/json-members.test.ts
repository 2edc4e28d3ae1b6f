import fc from 'fast-check'
import t from 'tap'
import { repeatedMembers } from '../../src/segment/json-members.js'

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
  for (const [text, repeated] of cases) t.same([...repeatedMembers(text)].sort(), repeated, text)
})

t.test('an object written by JSON.stringify never has one', async () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.jsonValue()),
      object => repeatedMembers(JSON.stringify(object)).size === 0,
    ),
  )
})

t.test('members written twice are found among any others', async () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 }), fc.nat(), (object, pick) => {
      const names = Object.keys(object)
      const name = names[pick % names.length] as string
      const text = `${JSON.stringify(object).slice(0, -1)},${JSON.stringify(name)}:0}`
      return [...repeatedMembers(text)].join() === name
    }),
  )
})
