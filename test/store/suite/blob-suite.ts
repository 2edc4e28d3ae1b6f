import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import type { Blob } from '../../../src/contracts/store.js'
import type { Harness } from './samples.js'

export async function testBlobs(t: Test, harness: Harness): Promise<void> {
  const bodies: Record<string, Buffer> = {
    'a small body': Buffer.from('hello'),
    'an empty body': Buffer.alloc(0),
    'every byte value': Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
    'a body that is not UTF-8 and ends in line breaks': Buffer.from([0xff, 0xfe, 0x00, 0x0d, 0x0a, 0x0d, 0x0a]),
    'a body of exactly one piece': randomBytes(65_472),
    'a body one byte longer than a piece': randomBytes(65_473),
    'a body of 20 MB': randomBytes(20_000_000),
  }
  for (const [title, body] of Object.entries(bodies)) {
    t.test(`returns ${title} unchanged`, async t => {
      const { results } = await harness.open(t)
      const meta = JSON.stringify({ contentType: 'image/jpeg', note: 'Grüße 🌊' })
      await results.put('key', { meta, body }, 60)
      const blob = await results.get('key')
      t.equal(blob?.meta, meta)
      t.ok(blob && body.equals(blob.body), 'the same bytes')
    })
  }

  t.test('a missing blob is undefined, and has returns false', async t => {
    const { results, images, requests } = await harness.open(t)
    await results.put('key', { meta: '{}', body: Buffer.from('x') }, 60)
    t.equal(await results.get('other'), undefined)
    t.equal(await results.has('other'), false)
    t.equal(await results.has('key'), true)
    t.equal(await images.get('key'), undefined, 'results and images do not share keys')
    t.equal(await requests.get('key'), undefined, 'requests do not share them either')
    await requests.put('key', { meta: '{"a":1}', body: Buffer.alloc(0) }, 60)
    t.same(await requests.get('key'), { meta: '{"a":1}', body: Buffer.alloc(0) })
    t.match(await results.get('key'), { meta: '{}' })
    t.equal(await requests.delete('key'), true)
    t.equal(await results.has('key'), true)
  })

  t.test('a second put replaces body, description and time to live', async t => {
    const store = await harness.open(t)
    await store.results.put('key', { meta: '{"a":1}', body: randomBytes(200_000) }, 10)
    await store.results.put('key', { meta: '{"a":2}', body: Buffer.from('short') }, 100)
    await harness.elapse(store, 'result', 'key', 50)
    t.same(await store.results.get('key'), { meta: '{"a":2}', body: Buffer.from('short') })
  })

  t.test('delete returns whether there was a blob', async t => {
    const { images } = await harness.open(t)
    await images.put('key', { meta: '{}', body: Buffer.from('x') }, 60)
    t.equal(await images.delete('key'), true)
    t.equal(await images.delete('key'), false)
    t.equal(await images.get('key'), undefined)
    t.equal(await images.has('key'), false)
  })

  t.test('clear deletes all blobs of its kind and returns their number', async t => {
    const { results, images } = await harness.open(t)
    const blob = { meta: '{}', body: Buffer.from('x') }
    for (let index = 0; index < 250; index++) await results.put(`key${index}`, blob, 60)
    await images.put('key1', blob, 60)
    t.equal(await results.clear(), 250)
    t.equal(await results.get('key1'), undefined)
    t.equal(await results.has('key249'), false)
    t.equal(await images.has('key1'), true)
    t.equal(await results.clear(), 0)
    await results.put('key1', blob, 60)
    t.equal(await results.has('key1'), true)
  })

  for (const kind of ['result', 'image', 'request'] as const) {
    t.test(`a blob expires after its time to live: ${kind}`, async t => {
      const store = await harness.open(t)
      const blobs = store[`${kind}s`]
      await blobs.put('key', { meta: '{}', body: Buffer.from('x') }, 100)
      await harness.elapse(store, kind, 'key', 99)
      t.equal(await blobs.has('key'), true)
      await harness.elapse(store, kind, 'key', 1)
      t.equal(await blobs.has('key'), false)
      t.equal(await blobs.get('key'), undefined)
      t.equal(await blobs.delete('key'), false)
    })
  }

  t.test('a put with time to live 0 stores nothing and deletes the old blob', async t => {
    const { results } = await harness.open(t)
    await results.put('key', { meta: '{}', body: Buffer.from('x') }, 60)
    await results.put('key', { meta: '{}', body: Buffer.from('y') }, 0)
    t.equal(await results.get('key'), undefined)
  })

  t.test('a returned body does not change with the store', async t => {
    const { results } = await harness.open(t)
    const body = randomBytes(300_000)
    await results.put('key', { meta: '{}', body }, 60)
    const blob = (await results.get('key')) as Blob
    await results.put('key', { meta: '{}', body: Buffer.alloc(300_000) }, 60)
    await results.delete('key')
    for (let index = 0; index < 5; index++)
      await results.put(`other${index}`, { meta: '{}', body: Buffer.alloc(300_000, 7) }, 60)
    t.ok(body.equals(blob.body))
  })

  t.test('many concurrent puts do not mix', async t => {
    const { results } = await harness.open(t)
    const blobs = Array.from({ length: 40 }, (_, index) => ({
      meta: `{"i":${index}}`,
      body: randomBytes(1 + index * 3_000),
    }))
    await Promise.all(blobs.map((blob, index) => results.put(`key${index}`, blob, 60)))
    t.same(await Promise.all(blobs.map((_, index) => results.get(`key${index}`))), blobs)
  })
}
