import t from 'tap'
import { UnsavedResults } from '../../src/cache/unsaved-results.js'
import type { Result } from '../../src/segment/types.js'
import { StoreError } from '../../src/storage.js'

const result = (bytes: number, storedAt = 1): Result => ({
  body: Buffer.alloc(bytes),
  contentType: 'image/jpeg',
  etag: 'e',
  storedAt,
  cost: 17,
})

/** Nothing is tried by itself: `retryMs` is longer than any test. */
function waitingRoom({ maxBytes = 1_000, retryMs = 1e6 } = {}) {
  const state = { isUp: false, refuses: false }
  const written = new Map<string, { storedAt: number; ttlSeconds: number }>()
  const lost: string[] = []
  const failures: unknown[] = []
  const unsaved = new UnsavedResults({
    maxBytes,
    retryMs,
    isStoreUp: () => state.isUp,
    async write(key, { storedAt }, ttlSeconds) {
      if (!state.isUp || state.refuses) throw new StoreError('no')
      written.set(key, { storedAt, ttlSeconds })
    },
    onFailure: error => failures.push(error),
    onLost: (key, _result, why) => lost.push(`${key}: ${why}`),
  })
  t.teardown(() => unsaved.close())
  return { unsaved, state, written, lost, failures }
}

t.test('what the store cannot take is kept, counted, and written when it is back', async t => {
  const { unsaved, state, written } = waitingRoom()
  const isWritten = unsaved.add('a', result(100), 60)
  t.equal(unsaved.size, 1)
  t.equal(unsaved.bytes, 100)
  t.same(unsaved.keys, ['a'])
  t.equal(unsaved.get('a')?.body.length, 100)
  await unsaved.flush()
  t.equal(unsaved.size, 1, 'the store is down: nothing is tried')
  state.isUp = true
  await unsaved.flush()
  t.equal(await isWritten, true)
  t.same(written.get('a'), { storedAt: 1, ttlSeconds: 60 })
  t.equal(unsaved.size, 0)
  t.equal(unsaved.bytes, 0)
})

t.test('it is written by itself', async t => {
  const { unsaved, state } = waitingRoom({ retryMs: 5 })
  const isWritten = unsaved.add('a', result(100), 60)
  state.isUp = true
  // Its timer keeps no process alive.
  const alive = setInterval(() => {}, 1_000)
  t.equal(await isWritten, true)
  clearInterval(alive)
})

t.test('when there is no room the oldest are given up, and it is said', async t => {
  const { unsaved, lost } = waitingRoom({ maxBytes: 250 })
  const told = [unsaved.add('a', result(100), 60), unsaved.add('b', result(100), 60), unsaved.add('c', result(100), 60)]
  t.same(lost, ['a: no room'])
  t.equal(await told[0], false)
  t.same(unsaved.keys, ['b', 'c'])
  t.equal(unsaved.bytes, 200)
  void unsaved.add('huge', result(300), 60)
  t.same(unsaved.keys, [])
  t.equal(unsaved.bytes, 0)
  t.same(lost, ['a: no room', 'b: no room', 'c: no room', 'huge: no room'])
})

t.test('a store that takes others and refuses one is asked a few times, then the result is given up', async t => {
  const { unsaved, state, lost, failures } = waitingRoom()
  Object.assign(state, { isUp: true, refuses: true })
  const isWritten = unsaved.add('a', result(100), 60)
  for (let attempt = 0; attempt < 20; attempt++) await unsaved.flush()
  t.same(lost, [], 'a store that refuses everything says nothing against one')
  for (let attempt = 0; attempt < 5; attempt++) {
    unsaved.noteTaken()
    await unsaved.flush()
  }
  t.equal(await isWritten, false)
  t.same(lost, ['a: refused'])
  t.equal(failures.length, 25)
})

t.test('a newer result takes the place of an older one, and both are told', async t => {
  const { unsaved, state, written } = waitingRoom()
  const told = [unsaved.add('a', result(100, 1), 60), unsaved.add('a', result(50, 2), 60)]
  t.equal(unsaved.bytes, 50)
  state.isUp = true
  await unsaved.flush()
  t.same(await Promise.all(told), [true, true])
  t.equal(written.get('a')?.storedAt, 2)
})

t.test('one that is replaced while it is written stays until the newer one is written', async t => {
  const { unsaved, state, written } = waitingRoom()
  const first = unsaved.add('a', result(100, 1), 60)
  state.isUp = true
  const flushed = unsaved.flush()
  const second = unsaved.add('a', result(50, 2), 60)
  await flushed
  t.equal(unsaved.size, 1)
  await unsaved.flush()
  t.same(await Promise.all([first, second]), [true, true])
  t.equal(written.get('a')?.storedAt, 2)
})

t.test('closing during a try ends it: nothing is tried after that', async t => {
  const { unsaved, state, failures } = waitingRoom({ retryMs: 1 })
  Object.assign(state, { isUp: true, refuses: true })
  void unsaved.add('a', result(100), 60)
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(alive))
  // Closed while a try that its timer has begun is being refused.
  await new Promise<void>(resolve => {
    const { push } = failures
    failures.push = (...items) => {
      unsaved.close()
      resolve()
      return push.apply(failures, items)
    }
  })
  const tried = failures.length
  // Another one, which goes on, is the clock.
  const other = waitingRoom({ retryMs: 1 })
  Object.assign(other.state, { isUp: true, refuses: true })
  void other.unsaved.add('b', result(100), 60)
  while (other.failures.length < 5) await new Promise(resolve => setImmediate(resolve))
  t.equal(failures.length, tried)
})
