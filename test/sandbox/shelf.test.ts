import t from 'tap'
import { Shelf } from '../../src/sandbox/shelf.js'

t.test('a thing is there until its time is up, and not a millisecond longer', async t => {
  let now = 5000
  const shelf = new Shelf<string>({ keepMs: 1000, things: 10 }, () => now)
  shelf.put('a', 'first')
  now += 500
  shelf.put('b', 'second')
  now += 499
  t.equal(shelf.get('a'), 'first')
  now += 1
  t.equal(shelf.get('a'), undefined)
  t.equal(shelf.get('b'), 'second')
})

t.test('the oldest goes when there are too many', async t => {
  const shelf = new Shelf<number>({ keepMs: 1000, things: 2 }, () => 0)
  for (const number of [1, 2, 3]) shelf.put(String(number), number)
  t.strictSame(
    ['1', '2', '3'].map(id => shelf.get(id)),
    [undefined, 2, 3],
  )
})

t.test('as many of the oldest go as have to when there are too many bytes', async t => {
  let now = 0
  const shelf = new Shelf<string>({ keepMs: 1000, things: 10, bytes: 100 }, () => now)
  const kept = () => ['a', 'b', 'c', 'd', 'e'].filter(id => shelf.get(id))
  shelf.put('a', 'A', 40)
  shelf.put('b', 'B', 40)
  shelf.put('c', 'C', 20)
  t.strictSame(kept(), ['a', 'b', 'c'])
  shelf.put('d', 'D', 60)
  t.strictSame(kept(), ['c', 'd'])
  now = 1000
  t.strictSame(kept(), [])
  shelf.put('e', 'E', 100)
  t.strictSame(kept(), ['e'], 'what has expired takes no room')
})

t.test('a thing that is too big for the whole shelf is not kept', async t => {
  const shelf = new Shelf<string>({ keepMs: 1000, things: 10, bytes: 100 }, () => 0)
  shelf.put('a', 'A', 101)
  t.equal(shelf.get('a'), undefined)
})
