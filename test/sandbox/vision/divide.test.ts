import t from 'tap'
import { divide, type Link } from '../../../src/sandbox/vision/divide.js'

/** Links the nodes of a row, with a light link after node `gap`. */
const row = (nodes: number, gap: number): Link[] =>
  Array.from({ length: nodes - 1 }, (_, a) => ({ a, b: a + 1, weight: a === gap ? 1 : 40 }))

for (const { name, evidence, gap, sides } of [
  { name: 'an early light link', evidence: [1e6, 0, 0, 0, 0, -1e6], gap: 0, sides: [1, 0, 0, 0, 0, 0] },
  { name: 'a late light link', evidence: [1e6, 0, 0, 0, 0, -1e6], gap: 4, sides: [1, 1, 1, 1, 1, 0] },
  { name: 'the other direction', evidence: [-1e6, 0, 0, 0, 0, 1e6], gap: 2, sides: [0, 0, 0, 1, 1, 1] },
]) {
  t.test(`nodes without evidence divide at ${name}`, async t => {
    t.strictSame([...divide(Float32Array.from(evidence), row(evidence.length, gap))], sides)
  })
}

t.test('evidence outweighs light links, and heavy links outweigh evidence', async t => {
  const divideWith = (weight: number) => [
    ...divide(
      Float32Array.from([9, -2, 9]),
      [0, 1].map(a => ({ a, b: a + 1, weight })),
    ),
  ]
  t.strictSame(divideWith(0.5), [1, 0, 1])
  t.strictSame(divideWith(50), [1, 1, 1])
})

t.test('nodes without links keep the side of their evidence', async t => {
  t.strictSame([...divide(Float32Array.from([3, -3, 0]), [])], [1, 0, 0])
})
