import t from 'tap'
import { UnsavedResults } from '../../src/cache/unsaved-results.js'
import { StoreError } from '../../src/contracts/store.js'
import type { Result } from '../../src/contracts/types.js'
import { eventually } from '../support/eventually.js'

const result = (bytes: number, storedAt = 1): Result => ({
  body: Buffer.alloc(bytes),
  contentType: 'image/jpeg',
  etag: 'e',
  storedAt,
  cost: 17,
})

/** Retries nothing by itself: `retryMs` is longer than any test. */
function openUnsaved({ maxBytes = 1_000, retryMs = 1e6 } = {}) {
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
    observer: {
      storeFailed: error => failures.push(error),
      resultLost: (key, _result, why) => lost.push(`${key}: ${why}`),
    },
  })
  t.teardown(() => unsaved.close())
  return { unsaved, state, written, lost, failures }
}

t.test('a result the store refused is kept, counted, and written when the store is back', async t => {
  const { unsaved, state, written } = openUnsaved()
  const isWritten = unsaved.add('a', result(100), 60)
  t.equal(unsaved.size, 1)
  t.equal(unsaved.bytes, 100)
  t.same(unsaved.keys, ['a'])
  t.equal(unsaved.get('a')?.body.length, 100)
  await unsaved.flush()
  t.equal(unsaved.size, 1, 'no write is tried while the store is down')
  state.isUp = true
  await unsaved.flush()
  t.equal(await isWritten, true)
  t.same(written.get('a'), { storedAt: 1, ttlSeconds: 60 })
  t.equal(unsaved.size, 0)
  t.equal(unsaved.bytes, 0)
})

t.test('a waiting result is written without a call', async t => {
  const { unsaved, state } = openUnsaved({ retryMs: 5 })
  const isWritten = unsaved.add('a', result(100), 60)
  state.isUp = true
  // The retry timer does not keep the process alive.
  const alive = setInterval(() => {}, 1_000)
  t.equal(await isWritten, true)
  clearInterval(alive)
})

t.test('the oldest results are given up and reported when there is no room', async t => {
  const { unsaved, lost } = openUnsaved({ maxBytes: 250 })
  const writes = [
    unsaved.add('a', result(100), 60),
    unsaved.add('b', result(100), 60),
    unsaved.add('c', result(100), 60),
  ]
  t.same(lost, ['a: no room'])
  t.equal(await writes[0], false)
  t.same(unsaved.keys, ['b', 'c'])
  t.equal(unsaved.bytes, 200)
  void unsaved.add('huge', result(300), 60)
  t.same(unsaved.keys, [])
  t.equal(unsaved.bytes, 0)
  t.same(lost, ['a: no room', 'b: no room', 'c: no room', 'huge: no room'])
})

t.test('a result that the store refuses while it accepts others is given up after a few attempts', async t => {
  const { unsaved, state, lost, failures } = openUnsaved()
  Object.assign(state, { isUp: true, refuses: true })
  const isWritten = unsaved.add('a', result(100), 60)
  for (let attempt = 0; attempt < 20; attempt++) await unsaved.flush()
  t.same(lost, [], 'a store that refuses everything costs no result')
  for (let attempt = 0; attempt < 5; attempt++) {
    unsaved.recordAccepted()
    await unsaved.flush()
  }
  t.equal(await isWritten, false)
  t.same(lost, ['a: refused'])
  t.equal(failures.length, 25)
})

t.test('a newer result replaces an older one, and both promises resolve', async t => {
  const { unsaved, state, written } = openUnsaved()
  const writes = [unsaved.add('a', result(100, 1), 60), unsaved.add('a', result(50, 2), 60)]
  t.equal(unsaved.bytes, 50)
  state.isUp = true
  await unsaved.flush()
  t.same(await Promise.all(writes), [true, true])
  t.equal(written.get('a')?.storedAt, 2)
})

t.test('a result replaced during its write stays until the newer one is written', async t => {
  const { unsaved, state, written } = openUnsaved()
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

t.test('close during an attempt stops all further attempts', async t => {
  const { unsaved, state, failures } = openUnsaved({ retryMs: 1 })
  Object.assign(state, { isUp: true, refuses: true })
  void unsaved.add('a', result(100), 60)
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(alive))
  // Closes while an attempt of the timer is being refused.
  await new Promise<void>(resolve => {
    const { push } = failures
    failures.push = (...items) => {
      unsaved.close()
      resolve()
      return push.apply(failures, items)
    }
  })
  const attempts = failures.length
  // Another instance, which keeps retrying, serves as the clock.
  const other = openUnsaved({ retryMs: 1 })
  Object.assign(other.state, { isUp: true, refuses: true })
  void other.unsaved.add('b', result(100), 60)
  await eventually('the write failed fewer than five times', () => other.failures.length >= 5)
  t.equal(failures.length, attempts)
})
