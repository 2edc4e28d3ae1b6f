import { PassThrough } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { deliverInTurns, nextTurn } from '../../src/input/turns.js'

t.test('a body delivers one chunk in a turn, in order, until the rule ends', async t => {
  const body = new PassThrough()
  const seen: string[] = []
  const end = deliverInTurns(body)
  body.on('data', chunk => seen.push(String(chunk)))
  for (const chunk of ['a', 'b', 'c', 'd', 'e']) body.write(chunk)
  let most = 0
  while (seen.length < 3) {
    const before = seen.length
    await turn()
    most = Math.max(most, seen.length - before)
  }
  t.equal(most, 1)
  end()
  while (seen.length < 5) await turn()
  t.strictSame(seen, ['a', 'b', 'c', 'd', 'e'])
})

t.test('of many waiting transfers, a few take a chunk in each turn, in the order of their calls', async t => {
  const taken: number[] = []
  const all = Promise.all(
    Array.from({ length: 100 }, async (_, index) => {
      await nextTurn()
      taken.push(index)
    }),
  )
  await turn()
  await turn()
  t.ok(taken.length < 100, `${taken.length} of 100 after two turns`)
  await all
  t.strictSame(taken, [...taken.keys()])
  t.equal(taken.length, 100)
})
