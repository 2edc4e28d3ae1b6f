import t from 'tap'
import { ResultCache } from '../../src/cache/result-cache.js'
import { etagOf } from '../../src/contracts/etag.js'
import type { Blob, BlobStore } from '../../src/contracts/store.js'
import { StoreError } from '../../src/contracts/store.js'
import type { Result } from '../../src/contracts/types.js'

const result = (text: string, storedAt = 1): Result => ({
  body: Buffer.from(text),
  contentType: 'image/jpeg',
  etag: etagOf(Buffer.from(text)),
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
  const damaged: string[] = []
  const cache = new ResultCache({
    memoryBytes,
    store: memory.store,
    isStoreUp: () => !memory.state.isDown,
    keepSeconds: 60,
    unsavedBytes: 1e6,
    observer: {
      storeFailed: (_error, operation) => failures.push(operation),
      resultLost: () => {},
      bodyDamaged: (kind, key) => damaged.push(`${kind} ${key}`),
    },
  })
  return { ...memory, cache, failures, damaged }
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

const DAMAGES: Record<string, (blob: Blob) => Blob> = {
  'a flipped bit': ({ meta, body }) => ({
    meta,
    body: Buffer.from(body.map((byte, at) => (at === 2 ? byte ^ 1 : byte))),
  }),
  'a body that is cut off': ({ meta, body }) => ({ meta, body: body.subarray(0, -1) }),
  'an empty body': ({ meta }) => ({ meta, body: Buffer.alloc(0) }),
  'metadata that is no JSON': ({ body }) => ({ meta: 'not json', body }),
  'metadata of another result': ({ body }) => ({ meta: JSON.stringify({ etag: etagOf(Buffer.from('other')) }), body }),
}

for (const [what, damage] of Object.entries(DAMAGES)) {
  t.test(`${what} is a miss, is removed, and is reported once`, async t => {
    for (const memoryBytes of [0, 1e6]) {
      const first = cacheOver()
      await first.cache.keep('k', result('a picture'))
      const { cache, damaged, failures, blobs } = cacheOver(first, memoryBytes)
      blobs.set('k', damage(blobs.get('k') as Blob))
      t.same(await cache.find('k', any), { isSure: true })
      t.same(await cache.find('k', any), { isSure: true })
      t.same(damaged, ['result k'])
      t.same(failures, [])
      t.notOk(blobs.has('k'))
    }
  })
}

t.test('a result that replaces a damaged one meanwhile is found and stays', async t => {
  const { cache, damaged, blobs, store } = cacheOver()
  await cache.keep('k', result('new'))
  const good = blobs.get('k') as Blob
  const reads = [{ ...good, body: Buffer.from('ne') }, good]
  const other = cacheOver({ ...memoryStore(), blobs, store: { ...store, get: async () => reads.shift() } })
  t.same(await other.cache.find('k', any), { result: result('new'), isSure: true })
  t.same([...damaged, ...other.damaged], [])
  t.ok(blobs.has('k'))
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
