import t from 'tap'
import { ResultCache } from '../../src/cache/result-cache.js'
import type { Blob, BlobStore } from '../../src/contracts/store.js'
import { StoreError } from '../../src/contracts/store.js'
import type { Result } from '../../src/contracts/types.js'

const result = (text: string, storedAt = 1): Result => ({
  body: Buffer.from(text),
  contentType: 'image/jpeg',
  etag: 'e',
  storedAt,
  cost: 17,
  upstreamRequestId: 'u',
})

function memoryStore() {
  const blobs = new Map<string, Blob>()
  const ttls: number[] = []
  const state = { isDown: false, gets: 0 }
  const up = () => {
    if (state.isDown) throw new StoreError('down')
  }
  const store: BlobStore = {
    get: async key => {
      up()
      state.gets++
      return blobs.get(key)
    },
    put: async (key, blob, ttl) => {
      up()
      blobs.set(key, blob)
      ttls.push(ttl)
    },
    has: async key => blobs.has(key),
    clear: async () => 0,
    delete: async key => blobs.delete(key),
  }
  return { store, blobs, ttls, state }
}

function cacheOver(memory = memoryStore(), memoryBytes = 1e6) {
  const failures: string[] = []
  const cache = new ResultCache({
    memoryBytes,
    store: memory.store,
    isStoreUp: () => !memory.state.isDown,
    keepSeconds: 60,
    unsavedBytes: 1e6,
    observer: { storeFailed: (_error, operation) => failures.push(operation), resultLost: () => {} },
  })
  return { cache, failures, ...memory }
}

const any = () => true

t.test('a kept result is found without reading the store', async t => {
  const { cache, state, ttls } = cacheOver()
  t.match(await cache.keep('k', result('x')), { stored: true })
  t.same(await cache.find('k', any), { result: result('x'), isSure: true })
  t.equal(state.gets, 0)
  t.same(ttls, [60])
})

t.test('another process finds the same bytes and members in the store, and remembers them', async t => {
  const { cache, store } = cacheOver()
  await cache.keep('k', result('x'))
  const other = cacheOver({ ...memoryStore(), store })
  t.same(await other.cache.find('k', any), { result: result('x'), isSure: true })
  t.equal(other.cache.memory.entries, 1)
})

t.test('a remembered result that is not wanted does not hide a newer one in the store', async t => {
  const { cache, store } = cacheOver()
  await cache.keep('k', result('old', 1))
  const other = cacheOver({ ...memoryStore(), store })
  await other.cache.keep('k', result('new', 2))
  t.equal((await cache.find('k', ({ storedAt }) => storedAt > 1)).result?.body.toString(), 'new')
})

t.test('a stale result is found when there is no better one', async t => {
  const { cache } = cacheOver()
  await cache.keep('k', result('old', 1))
  t.equal((await cache.find('k', () => false)).result?.body.toString(), 'old')
})

t.test('a failing store is a miss and is reported; a kept result stays in memory', async t => {
  const { cache, failures, state } = cacheOver()
  state.isDown = true
  t.same(await cache.find('k', any), { isSure: false })
  t.match(await cache.keep('k', result('x')), { stored: false })
  t.same(failures, ['results: find', 'results: keep'])
  t.same(await cache.find('k', any), { result: result('x'), isSure: true })
})

t.test('an unreadable value is a miss and is reported as a failure', async t => {
  const { cache, failures, blobs } = cacheOver()
  blobs.set('k', { meta: 'not json', body: Buffer.alloc(1) })
  t.same(await cache.find('k', any), { isSure: false })
  t.same(failures, ['results: find'])
})

t.test('the memory tier stays within its bound and drops the least recently used result', async t => {
  const { cache, state } = cacheOver(memoryStore(), 4000)
  for (const key of ['a', 'b', 'c']) await cache.keep(key, result('x'.repeat(1000)))
  t.ok(cache.memory.bytes <= 4000)
  t.equal(cache.memory.entries, 2)
  await cache.find('a', any)
  t.equal(state.gets, 1, 'a was dropped from memory and came from the store')
})

t.test('a result larger than the memory tier evicts nothing', async t => {
  const { cache } = cacheOver(memoryStore(), 3000)
  await cache.keep('small', result('x'))
  await cache.keep('large', result('x'.repeat(5000)))
  t.equal(cache.memory.entries, 1)
})

t.test('MEMORY_CACHE_BYTES=0 remembers nothing', async t => {
  const { cache, state } = cacheOver(memoryStore(), 0)
  await cache.keep('k', result('x'))
  t.same(await cache.find('k', any), { result: result('x'), isSure: true })
  t.equal(state.gets, 1)
  t.equal(cache.memory.bytes, 0)
})

t.test('an older stored result never replaces a newer one, neither after an outage nor by a slow read', async t => {
  const { cache, store, state } = cacheOver()
  await cache.keep('k', result('v1', 1))
  state.isDown = true
  await cache.keep('k', result('v2', 2))
  state.isDown = false
  t.equal((await cache.find('k', () => false)).result?.body.toString(), 'v2')
  t.equal((await cache.find('k', any)).result?.body.toString(), 'v2')

  const other = cacheOver({ ...memoryStore(), store })
  const slow = other.cache.find('k', any)
  await other.cache.keep('k', result('v3', 3))
  t.equal((await slow).result?.body.toString(), 'v3')
  t.equal((await other.cache.find('k', any)).result?.body.toString(), 'v3')
})
