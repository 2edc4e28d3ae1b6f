import t from 'tap'
import { ExpiringMap } from '../../src/sandbox/expiring-map.js'

t.test('an entry expires exactly after its lifetime', async t => {
  let now = 5000
  const map = new ExpiringMap<string>({ ttlMs: 1000, maxEntries: 10 }, () => now)
  map.set('a', 'first')
  now += 500
  map.set('b', 'second')
  now += 499
  t.equal(map.get('a'), 'first')
  now += 1
  t.equal(map.get('a'), undefined)
  t.equal(map.get('b'), 'second')
})

t.test('the map evicts the oldest entry when it has too many', async t => {
  const map = new ExpiringMap<number>({ ttlMs: 1000, maxEntries: 2 }, () => 0)
  for (const number of [1, 2, 3]) map.set(String(number), number)
  t.strictSame(
    ['1', '2', '3'].map(id => map.get(id)),
    [undefined, 2, 3],
  )
})

t.test('the map evicts as many of the oldest entries as the byte limit requires', async t => {
  let now = 0
  const map = new ExpiringMap<string>({ ttlMs: 1000, maxEntries: 10, maxBytes: 100 }, () => now)
  const kept = () => ['a', 'b', 'c', 'd', 'e'].filter(id => map.get(id))
  map.set('a', 'A', 40)
  map.set('b', 'B', 40)
  map.set('c', 'C', 20)
  t.strictSame(kept(), ['a', 'b', 'c'])
  map.set('d', 'D', 60)
  t.strictSame(kept(), ['c', 'd'])
  now = 1000
  t.strictSame(kept(), [])
  map.set('e', 'E', 100)
  t.strictSame(kept(), ['e'], 'expired entries use no bytes')
})

t.test('an entry larger than the byte limit is not kept', async t => {
  const map = new ExpiringMap<string>({ ttlMs: 1000, maxEntries: 10, maxBytes: 100 }, () => 0)
  map.set('a', 'A', 101)
  t.equal(map.get('a'), undefined)
})
