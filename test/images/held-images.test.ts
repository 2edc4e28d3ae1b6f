import t from 'tap'
import { HeldImages } from '../../src/images/held-images.js'
import type { ImageBytes } from '../../src/segment/types.js'
import { type Blob, type BlobStore, StoreError } from '../../src/storage.js'

const IMAGE: ImageBytes = {
  type: 'png',
  digest: 'a'.repeat(64),
  chunks: [Buffer.from('pho'), Buffer.from('to')],
  byteLength: 5,
}

function held(ttlSeconds = 60) {
  const blobs = new Map<string, Blob>()
  const state = { isDown: false, puts: 0 }
  const failures: string[] = []
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
    delete: async key => blobs.delete(key),
  }
  return {
    images: new HeldImages({
      store,
      ttlSeconds,
      now: () => 0,
      onStoreFailure: (_error, doing) => failures.push(doing),
    }),
    blobs,
    state,
    failures,
  }
}

t.test('an image is found by its id, in one piece, and written once', async t => {
  const { images, state } = held()
  await images.keep('', IMAGE, 'vision')
  await images.keep('', IMAGE, 'vision')
  t.equal(state.puts, 2, 'once, and once who has sent it')
  t.same(await images.find('', IMAGE.digest), {
    type: 'png',
    digest: IMAGE.digest,
    chunks: [Buffer.from('photo')],
    byteLength: 5,
  })
})

t.test('scopes do not see each other', async t => {
  const { images } = held()
  await images.keep('red', IMAGE, 'vision')
  t.equal(await images.find('blue', IMAGE.digest), undefined)
  t.equal(await images.find('', IMAGE.digest), undefined)
})

t.test('an image the store has lost is kept again when it comes again', async t => {
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

t.test('a store that is down is told and harms nobody; the image is kept the next time', async t => {
  const { images, state, failures } = held()
  state.isDown = true
  await images.keep('', IMAGE, 'vision')
  t.equal(await images.find('', IMAGE.digest), undefined)
  t.same(failures, ['keep', 'find'])
  state.isDown = false
  await images.keep('', IMAGE, 'vision')
  t.ok(await images.find('', IMAGE.digest))
})
