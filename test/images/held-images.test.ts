import { createHash } from 'node:crypto'
import t from 'tap'
import { type Blob, type BlobStore, StoreError } from '../../src/contracts/store.js'
import type { ImageBytes } from '../../src/contracts/types.js'
import { HeldImages } from '../../src/images/held-images.js'

const IMAGE: ImageBytes = {
  type: 'png',
  digest: createHash('sha256').update('photo').digest('hex'),
  chunks: [Buffer.from('pho'), Buffer.from('to')],
  byteLength: 5,
}

function held(ttlSeconds = 60) {
  const blobs = new Map<string, Blob>()
  const state = { isDown: false, puts: 0 }
  const clock = { now: 0 }
  const failures: string[] = []
  const damaged: string[] = []
  const up = () => {
    if (state.isDown) throw new StoreError('down')
  }
  const store: BlobStore = {
    get: async key => {
      up()
      return blobs.get(key)
    },
    put: async (key, blob) => {
      up()
      state.puts++
      blobs.set(key, blob)
    },
    has: async key => blobs.has(key),
    clear: async () => 0,
    delete: async key => blobs.delete(key),
  }
  /** Opens a second process on the same store. */
  const another = () =>
    new HeldImages({
      store,
      ttlSeconds,
      now: () => clock.now,
      observer: {
        storeFailed: (_error, operation) => failures.push(operation),
        bodyDamaged: (kind, key) => damaged.push(`${kind} ${key}`),
      },
    })
  return { images: another(), another, store, blobs, state, clock, failures, damaged }
}

t.test('an image is found by its id, in one chunk, and written once', async t => {
  const { images, state } = held()
  await images.keep('', IMAGE, 'vision')
  await images.keep('', IMAGE, 'vision')
  t.equal(state.puts, 2, 'once for the image, and once for its sender')
  t.same(await images.find('', IMAGE.digest), {
    type: 'png',
    digest: IMAGE.digest,
    chunks: [Buffer.from('photo')],
    byteLength: 5,
  })
})

t.test('a damaged image is unknown, is removed and reported, and can be stored again', async t => {
  const { images, another, blobs, damaged } = held()
  await images.keep('', IMAGE, 'vision')
  const [[key, { meta }] = ['', { meta: '' }]] = [...blobs].filter(([, { body }]) => body.length > 0)
  blobs.set(key, { meta, body: Buffer.from('phot0') })
  const other = another()
  t.equal(await other.find('', IMAGE.digest), undefined)
  t.same(damaged, [`image ${IMAGE.digest}`])
  t.notOk(blobs.has(key))
  await other.keep('', IMAGE, 'vision')
  t.same((await another().find('', IMAGE.digest))?.chunks, [Buffer.from('photo')])
})

t.test('scopes do not share images', async t => {
  const { images } = held()
  await images.keep('red', IMAGE, 'vision')
  t.equal(await images.find('blue', IMAGE.digest), undefined)
  t.equal(await images.find('', IMAGE.digest), undefined)
})

t.test('an image the store has lost is stored again when it is sent again', async t => {
  const { images, blobs } = held()
  await images.keep('', IMAGE, 'vision')
  blobs.clear()
  t.equal(await images.find('', IMAGE.digest), undefined)
  await images.keep('', IMAGE, 'vision')
  t.ok(await images.find('', IMAGE.digest))
})

t.test('IMAGE_TTL_SECONDS=0 keeps none', async t => {
  const { images, state } = held(0)
  await images.keep('', IMAGE, 'vision')
  t.equal(state.puts, 0)
  t.equal(await images.find('', IMAGE.digest), undefined)
})

t.test('a failing store is reported and fails no request; the image is stored the next time', async t => {
  const { images, state, failures } = held()
  state.isDown = true
  await images.keep('', IMAGE, 'vision')
  t.equal(await images.find('', IMAGE.digest), undefined)
  t.same(failures, ['images: keep', 'images: find'])
  state.isDown = false
  await images.keep('', IMAGE, 'vision')
  t.ok(await images.find('', IMAGE.digest))
})

t.test('only a team that sent an image can delete it', async t => {
  const { images, blobs } = held()
  await images.keep('', IMAGE, 'red')
  await images.keep('', IMAGE, 'blue')
  t.equal(await images.drop('', IMAGE.digest, 'green'), 'foreign')
  t.equal(await images.drop('', 'b'.repeat(64), 'red'), 'unknown')
  t.equal(await images.drop('', IMAGE.digest, 'blue'), 'dropped')
  t.equal(await images.find('', IMAGE.digest), undefined)
  t.equal(await images.drop('', IMAGE.digest, 'red'), 'unknown')
  await images.keep('', IMAGE, 'red')
  t.ok(await images.find('', IMAGE.digest), 'sent again, it is found again')
  t.equal(blobs.has(`by:blue:${IMAGE.digest}`), false)
})

t.test('a team can delete an image of its own scope', async t => {
  const { images } = held()
  await images.keep('red', IMAGE, 'red')
  t.equal(await images.drop('blue', IMAGE.digest, 'blue'), 'unknown')
  t.equal(await images.drop('red', IMAGE.digest, 'red'), 'dropped')
})

t.test('an explicitly stored image is always written, and a failure rejects', async t => {
  const { images, state } = held(60)
  await images.keep('', IMAGE, 'red')
  t.equal(await images.store('', IMAGE, 'red'), 60_000)
  t.equal(state.puts, 4)
  state.isDown = true
  await t.rejects(images.store('', IMAGE, 'red'), { name: 'StoreError' })
  t.equal(await held(0).images.store('', IMAGE, 'red'), undefined, 'with a time to live of 0')
})

t.test('an image used after half its time to live is renewed', async t => {
  const { images, another, state, clock } = held(60)
  await images.store('', IMAGE, 'red')
  clock.now = 30_000
  const other = another()
  await other.find('', IMAGE.digest)
  t.equal(state.puts, 2)
  clock.now = 30_001
  await other.find('', IMAGE.digest)
  t.equal(state.puts, 3)
})

t.test('requests for one image share its bytes until it is dropped', async t => {
  const { images } = held()
  await images.store('', IMAGE, 'vision')
  const [one, other] = await Promise.all([images.find('', IMAGE.digest), images.find('', IMAGE.digest)])
  t.ok(one)
  t.equal(other, one)
  t.equal(await images.find('', IMAGE.digest), one)
  t.equal(await images.drop('', IMAGE.digest, 'vision'), 'dropped')
  t.equal(await images.find('', IMAGE.digest), undefined)
})

t.test('an image that the store may still read is not released', async t => {
  const { images } = held()
  const [stored, sentAgain] = [0, 1].map(() => ({ ...IMAGE, release: () => {} }) as ImageBytes) as [
    ImageBytes,
    ImageBytes,
  ]
  const storing = images.keep('', stored, 'vision')
  t.equal(stored.release, undefined)
  await storing
  await images.keep('', sentAgain, 'vision')
  t.type(sentAgain.release, 'function', 'the store has the image already')
})

t.test('an image is not freed while a second write reads it', async t => {
  const { images, store } = held()
  const writes: (() => void)[] = []
  store.put = () => new Promise(resolve => writes.push(resolve))
  const image: ImageBytes = { ...IMAGE, release: () => {} }
  const first = images.keep('red', image, 'vision')
  t.equal(await images.find('red', IMAGE.digest), undefined, 'not stored yet')
  const second = images.keep('red', image, 'vision')
  writes[0]?.()
  await first
  t.notOk(image.release)
  writes[1]?.()
  await second
})
