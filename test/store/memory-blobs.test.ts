import t from 'tap'
import { createMemoryBlobs } from '../../src/store/memory-blobs.js'

const blob = (bytes: number) => ({ meta: '{}', body: Buffer.alloc(bytes) })

t.test('blobs are stored, found and deleted', async t => {
  const blobs = createMemoryBlobs({ maxBytes: 10_000 })
  await blobs.put('a', blob(10), 60)
  t.same(await blobs.get('a'), blob(10))
  t.equal(await blobs.has('a'), true)
  t.equal(await blobs.delete('a'), true)
  t.equal(await blobs.delete('a'), false)
  t.equal(await blobs.get('a'), undefined)
})

t.test('a stored blob does not change with the memory it was stored from', async t => {
  const blobs = createMemoryBlobs({ maxBytes: 10_000 })
  const stored = blob(10)
  await blobs.put('a', stored, 60)
  stored.body.fill(1)
  t.same(await blobs.get('a'), blob(10))
})

t.test('the least recently used blob is evicted, and a blob that never fits is not stored', async t => {
  const blobs = createMemoryBlobs({ maxBytes: 2_500 })
  await blobs.put('a', blob(1_000), 60)
  await blobs.put('b', blob(1_000), 60)
  await blobs.get('a')
  await blobs.put('c', blob(1_000), 60)
  t.strictSame([await blobs.has('a'), await blobs.has('b'), await blobs.has('c')], [true, false, true])
  await blobs.put('d', blob(5_000), 60)
  t.equal(await blobs.has('d'), false)
})
