import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import sharp from 'sharp'
import t from 'tap'
import type { ImageBytes, Params } from '../../src/contracts/types.js'
import { createPixelDigest } from '../../src/images/pixel-digest.js'
import { pixelKey } from '../../src/segment/cache-key.js'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.js'
import { PARAMS } from '../support/doubles/pipeline-world.js'
import { entriesOf } from '../support/entries-of.js'
import { startTestGateway } from '../support/gateway/gateway.js'

const WIDTH = 24
const HEIGHT = 16
const noise = Buffer.from(Array.from({ length: WIDTH * HEIGHT * 3 }, (_, index) => (index * 7_919) % 251))
const picture = (pixels = noise) => sharp(pixels, { raw: { width: WIDTH, height: HEIGHT, channels: 3 } })

function bytes(body: Buffer, type: ImageBytes['type']): ImageBytes {
  const half = body.length >> 1
  return {
    type,
    digest: 'd'.repeat(64),
    chunks: [body.subarray(0, half), body.subarray(half)],
    byteLength: body.length,
  }
}

function createPixelKey(options: { maxPixels: number }) {
  const digestPixels = createPixelDigest(options)
  return async (image: ImageBytes, params: Params, scope: string) => {
    const pixels = await digestPixels(image)
    return pixels && pixelKey(pixels, params, scope)
  }
}

t.test('equal pixels have equal keys whatever their bytes; other pixels or parameters have others', async t => {
  const keyOf = createPixelKey({ maxPixels: 1e6 })
  const png = await picture().png().toBuffer()
  const of = (image: ImageBytes, params: Params = PARAMS, scope = '') => keyOf(image, params, scope)
  const key = await of(bytes(png, 'png'))
  t.match(key, /^[0-9a-f]{64}$/)
  const other = Buffer.from(noise)
  other[0] = 255
  const same: [string, ImageBytes][] = [
    [
      'compressed differently',
      bytes(await picture().png({ compressionLevel: 1, adaptiveFiltering: true }).toBuffer(), 'png'),
    ],
    ['with an alpha that is opaque', bytes(await picture().ensureAlpha().png().toBuffer(), 'png')],
    ['as WebP without loss', bytes(await picture().webp({ lossless: true }).toBuffer(), 'webp')],
    [
      'with other metadata',
      bytes(
        await picture()
          .withExif({ IFD0: { Copyright: 'x' } })
          .png()
          .toBuffer(),
        'png',
      ),
    ],
  ]
  for (const [how, image] of same) t.equal(await of(image), key, how)
  t.not(await of(bytes(await picture(other).png().toBuffer(), 'png')), key, 'one pixel differs')
  t.not(await of(bytes(png, 'png'), { ...PARAMS, prompt: 'cat' }), key)
  t.not(await of(bytes(png, 'png'), PARAMS, 'labs'), key)
})

t.test('an image that is cut off, too large, or one too many at once has no digest', async t => {
  const png = await picture().png().toBuffer()
  const keyOf = createPixelKey({ maxPixels: 1e6 })
  t.equal(await keyOf(bytes(png.subarray(0, png.length - 60), 'png'), PARAMS, ''), undefined)
  t.equal(await createPixelKey({ maxPixels: 100 })(bytes(png, 'png'), PARAMS, ''), undefined)
  const keys = await Promise.all(Array.from({ length: 20 }, () => keyOf(bytes(png, 'png'), PARAMS, '')))
  t.equal(keys.filter(key => key !== undefined).length, 8)
  t.ok(await keyOf(bytes(png, 'png'), PARAMS, ''), 'later it gets a digest')
})

t.test(
  'the ledger records the image sent, with PIXEL_DIGEST its pixel key, and broken pixels fail no request',
  async t => {
    const dataDir = await mkdtemp(join(tmpdir(), 'gateway-pixels-'))
    t.teardown(() => rm(dataDir, { recursive: true, force: true }))
    const gateway = await startTestGateway({ dataDir, env: { PIXEL_DIGEST: 'true' } })
    t.teardown(gateway.stop)
    const [one, two] = [await picture().png().toBuffer(), await picture().png({ compressionLevel: 0 }).toBuffer()]
    // Longer, so that its entry is found by its length.
    const broken = Buffer.concat([withBrokenPixels(one), Buffer.alloc(7)])
    for (const image of [one, two, broken]) t.equal((await gateway.segment({ prompt: 'dog' }, { image })).status, 200)
    await gateway.stop()
    const store = await openEmbeddedStore({ dir: dataDir, maxBytes: 2 ** 26 })
    t.teardown(() => store.close())
    const entries = await entriesOf(store.ledger, new Date().toISOString().slice(0, 10))
    const of = (image: Buffer) => entries.find(entry => entry.image?.bytes === image.length)
    t.match(of(one)?.image, { width: WIDTH, height: HEIGHT })
    t.ok(of(one)?.pixelKey)
    t.equal(of(one)?.pixelKey, of(two)?.pixelKey)
    t.not(of(one)?.resultId, of(two)?.resultId)
    t.equal(of(broken)?.state, 'charged')
    t.equal(of(broken)?.pixelKey, undefined)
  },
)

/** Damages the coded pixels of a PNG, with a check sum that is right. */
function withBrokenPixels(png: Buffer): Buffer {
  const broken = Buffer.from(png)
  const type = broken.indexOf('IDAT')
  const end = type + 4 + broken.readUInt32BE(type - 4)
  broken.fill(0xff, type + 4, end)
  broken.writeUInt32BE(crc32(broken.subarray(type, end)), end)
  return broken
}
