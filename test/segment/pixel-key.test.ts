import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import t from 'tap'
import { createPixelKey } from '../../src/segment/pixel-key.js'
import type { ImageBytes, Params } from '../../src/segment/types.js'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.js'
import { startTestGateway } from '../support/gateway.js'
import { PARAMS } from '../support/pipeline-world.js'

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

t.test('the same pixels have the same key whatever their bytes, other pixels or parameters another one', async t => {
  const keyOf = createPixelKey({ maxPixels: 1e6 })
  const png = await picture().png().toBuffer()
  const of = (image: ImageBytes, params: Params = PARAMS, scope = '') => keyOf(image, params, scope)
  const key = await of(bytes(png, 'png'))
  t.match(key, /^[0-9a-f]{64}$/)
  const other = Buffer.from(noise)
  other[0] = 255
  const same: [string, ImageBytes][] = [
    [
      'packed otherwise',
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
  t.not(await of(bytes(await picture(other).png().toBuffer(), 'png')), key, 'one pixel')
  t.not(await of(bytes(png, 'png'), { ...PARAMS, prompt: 'cat' }), key)
  t.not(await of(bytes(png, 'png'), PARAMS, 'labs'), key)
})

t.test('what cannot be decoded has none: cut off, too large, too many at once', async t => {
  const png = await picture().png().toBuffer()
  const keyOf = createPixelKey({ maxPixels: 1e6 })
  t.equal(await keyOf(bytes(png.subarray(0, png.length - 60), 'png'), PARAMS, ''), undefined)
  t.equal(await createPixelKey({ maxPixels: 100 })(bytes(png, 'png'), PARAMS, ''), undefined)
  const keys = await Promise.all(Array.from({ length: 20 }, () => keyOf(bytes(png, 'png'), PARAMS, '')))
  t.equal(keys.filter(key => key !== undefined).length, 8)
  t.ok(await keyOf(bytes(png, 'png'), PARAMS, ''), 'later it is looked at again')
})

t.test('what was sent is in the ledger, with PIXEL_DIGEST what was seen, and broken pixels fail nothing', async t => {
  const dataDir = await mkdtemp(join(tmpdir(), 'gateway-pixels-'))
  t.teardown(() => rm(dataDir, { recursive: true, force: true }))
  const gateway = await startTestGateway({ dataDir, env: { PIXEL_DIGEST: 'true' } })
  t.teardown(gateway.stop)
  const [one, two] = [await picture().png().toBuffer(), await picture().png({ compressionLevel: 0 }).toBuffer()]
  const broken = one.subarray(0, one.length - 60)
  for (const image of [one, two, broken]) t.equal((await gateway.segment({ prompt: 'dog' }, { image })).status, 200)
  await gateway.stop()
  const store = await openEmbeddedStore({ dir: dataDir, maxBytes: 2 ** 26 })
  t.teardown(() => store.close())
  const entries = await store.ledger.entries(new Date().toISOString().slice(0, 10))
  const of = (image: Buffer) => entries.find(entry => entry.image?.bytes === image.length)
  t.match(of(one)?.image, { width: WIDTH, height: HEIGHT })
  t.ok(of(one)?.pixelKey)
  t.equal(of(one)?.pixelKey, of(two)?.pixelKey)
  t.not(of(one)?.resultId, of(two)?.resultId)
  t.equal(of(broken)?.state, 'charged')
  t.equal(of(broken)?.pixelKey, undefined)
})
