import { createHash, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import type { ImageBytes } from '../../src/contracts/types.js'
import { ByteCollector, collectBytes, joinChunks, makeReleasable } from '../../src/images/byte-collector.js'
import { createMetadataFilter } from '../../src/images/strip-metadata.js'
import { smallJpeg } from '../fixtures/odd-images.js'
import { insert, jpegSegment } from '../fixtures/parts.js'

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

t.test('bytes and their digest come out the same for any chunks', async () => {
  const piece = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 16_000, max: 70_000 }))
  await fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), lengths => {
      const pieces = lengths.map(length => randomBytes(length))
      const collector = new ByteCollector()
      for (const each of pieces) collector.add(each)
      const whole = Buffer.concat(pieces)
      const counted = collector.byteLength
      const { chunks, byteLength, digest } = collector.finish()
      return (
        Buffer.concat(chunks).equals(whole) &&
        byteLength === whole.length &&
        counted === whole.length &&
        digest === sha256(whole)
      )
    }),
    { numRuns: 200 },
  )
})

t.test('a large chunk is kept without a copy', async t => {
  const piece = randomBytes(100_000)
  t.equal(collectBytes(piece).chunks[0], piece)
})

t.test('a body of single bytes is kept in few chunks', async t => {
  const collector = new ByteCollector()
  for (let at = 0; at < 200_000; at++) collector.add(Buffer.from([at & 0xff]))
  t.ok(collector.finish().chunks.length <= 4)
})

t.test('alternating large and small chunks do not cost a block each', async t => {
  const collector = new ByteCollector()
  const large = randomBytes(16 * 1024)
  for (let at = 0; at < 100; at++) {
    collector.add(large)
    collector.add(Buffer.from([at]))
  }
  const small = collector.finish().chunks.filter(chunk => chunk.length === 1)
  t.equal(small.length, 100)
  t.equal(new Set(small.map(chunk => chunk.buffer)).size, 1, 'the small chunks share one block')
})

t.test('an empty collection has the digest of no bytes', async t => {
  t.same(new ByteCollector().finish(), { chunks: [], byteLength: 0, digest: sha256(Buffer.alloc(0)) })
})

t.test('a released image has no bytes left to send on', async t => {
  const memory = Buffer.allocUnsafeSlow(30_000)
  const chunks = [memory.subarray(5, 100), memory.subarray(100), Buffer.allocUnsafeSlow(20_000)]
  const image: ImageBytes = { type: 'jpeg', digest: '', chunks, byteLength: 49_995 }
  makeReleasable(image)
  image.release?.()
  t.throws(() => image.chunks, /released/)
  t.equal(image.release, undefined, 'once')
  const isFreed = 'transfer' in ArrayBuffer.prototype
  for (const chunk of chunks) t.equal(chunk.length === 0, isFreed, 'freed at once as of Node.js 22')
})

t.test('an image is joined once, and only chunks of its own are freed then', async t => {
  for (const isOwned of [false, true]) {
    const chunks = [randomBytes(20_000), randomBytes(30_000)]
    const expected = Buffer.concat(chunks)
    const image: ImageBytes = { type: 'jpeg', digest: '', chunks, byteLength: expected.length }
    if (isOwned) makeReleasable(image)
    const whole = joinChunks(image)
    t.ok(whole.equals(expected))
    t.equal(joinChunks(image), whole, 'a later reader gets the same buffer')
    t.same(image.chunks, [whole])
    const isFreed = isOwned && 'transfer' in ArrayBuffer.prototype
    for (const chunk of chunks) t.equal(chunk.length === 0, isFreed)
    image.release?.()
    t.equal(whole.length === 0, isFreed, 'the joined bytes are freed in place of the chunks')
  }
})

t.test('the parts of a filtered image are not freed with it', async t => {
  const jpeg = insert(await smallJpeg(24, 16), 2, jpegSegment(0xfe, randomBytes(20_000)))
  const image: ImageBytes = { type: 'jpeg', digest: '', chunks: [jpeg], byteLength: jpeg.length }
  makeReleasable(image)
  const filtered = createMetadataFilter('all')?.(image) ?? image
  t.ok(filtered.chunks.length > 1, 'it has slices of the image')
  joinChunks(filtered)
  t.ok(joinChunks(image).length > 20_000)
})

t.test('a small image does not share the memory of other buffers', async t => {
  const image: ImageBytes = { type: 'jpeg', digest: '', chunks: [Buffer.from('ab'), Buffer.from('c')], byteLength: 3 }
  const whole = joinChunks(image)
  t.equal(whole.toString(), 'abc')
  t.equal(whole.buffer.byteLength, 3)
  t.throws(() => joinChunks({ ...image, chunks: [Buffer.from('ab'), Buffer.from('c')], byteLength: 4 }))
})
