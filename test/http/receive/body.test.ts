import { Readable } from 'node:stream'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { GatewayError } from '../../../src/contracts/errors.js'
import { receiveBody } from '../../../src/http/receive/body.js'
import { eventually } from '../../support/eventually.js'

const tooLarge = () => new GatewayError('image_too_large', 'too large')
const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, at) => at % 251))

/** Streams the bytes in chunks of one size. */
function inChunks(size: number): Readable {
  const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
    bytes.subarray(at * size, (at + 1) * size),
  )
  return Readable.from(chunks, { objectMode: false })
}

t.test('a body takes its own size in memory, for any chunk size', async t => {
  for (const size of [7, 1000, 65_536, bytes.length]) {
    for (const declaredBytes of [undefined, bytes.length]) {
      const body = await receiveBody(inChunks(size), { declaredBytes, maxBytes: bytes.length, tooLarge })
      t.ok(body.equals(bytes), `declared ${declaredBytes}, chunks of ${size}`)
      t.equal(body.buffer.byteLength, bytes.length)
    }
  }
  const empty = await receiveBody(Readable.from([]), { declaredBytes: 0, maxBytes: 10, tooLarge })
  t.equal(empty.length, 0)
})

t.test('a body that is too large is not read further, and its stream is not destroyed', async t => {
  const stream = inChunks(1000)
  const limits = { declaredBytes: undefined, maxBytes: bytes.length / 2, tooLarge }
  await t.rejects(receiveBody(stream, limits), { code: 'image_too_large' })
  t.notOk(stream.destroyed, 'the refusal must still be sent')
})

t.test('a body that is cut off is an invalid request', async t => {
  const stream = new Readable({ read: () => {} })
  stream.push('abc')
  const received = receiveBody(stream, { declaredBytes: 10, maxBytes: 10, tooLarge })
  stream.destroy(new Error('aborted'))
  await t.rejects(received, { code: 'invalid_request' })
})

function* chunksOf(...sizes: number[]): Generator<Buffer> {
  for (const size of sizes) yield Buffer.alloc(size)
}

t.test('a refused body is not kept while its stream lasts', async t => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const before = process.memoryUsage().arrayBuffers
  const size = 50_000_000
  const onBytes = (count: number) => {
    if (count === 1) throw tooLarge()
  }
  const stream = Readable.from(chunksOf(size, 1, 2), { objectMode: false })
  await t.rejects(receiveBody(stream, { declaredBytes: size + 10, maxBytes: 2 * size, onBytes, tooLarge }))
  await eventually('the body was kept', () => {
    collectGarbage()
    return process.memoryUsage().arrayBuffers - before < size / 2
  })
  t.notOk(stream.destroyed)
})
