import sharp from 'sharp'
import t from 'tap'
import type { OrientationRule } from '../../src/images/frame.js'
import { createMaskForms } from '../../src/images/mask-forms.js'
import { halfRed, maskOfRed } from '../fixtures/half-red.js'

const SIZE = { width: 40, height: 20 }

function formsOf(maxPixels: number, orientation: OrientationRule = 'applied') {
  const { rle, cutout } = createMaskForms({ maxPixels, orientation })
  return { rle, cutout: (mask: Buffer, photo: Buffer) => cutout(mask, async () => photo) }
}

const forms = formsOf(10_000)

/** White where `x < 10`. */
function stripe({ width, height } = SIZE): Buffer {
  return Buffer.from(Array.from({ length: width * height }, (_, at) => (at % width < width / 4 ? 255 : 0)))
}

const maskOf = (size = SIZE) => sharp(stripe(size), { raw: { ...size, channels: 1 } })
const photoOf = (size = SIZE) => sharp({ create: { ...size, channels: 3, background: { r: 200, g: 100, b: 50 } } })

interface Pixels {
  width: number
  height: number
  at(x: number, y: number): number[]
}

async function read(png: Buffer): Promise<Pixels> {
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true })
  t.equal(info.channels, 4)
  return {
    width: info.width,
    height: info.height,
    at: (x, y) => [...data.subarray(4 * (y * info.width + x)).subarray(0, 4)],
  }
}

t.test('a cutout carries nothing of the photo outside the selection', async t => {
  const png = await forms.cutout(await maskOf().png().toBuffer(), await photoOf().jpeg().toBuffer())
  const { data } = await sharp(png).raw().toBuffer({ resolveWithObject: true })
  let outside = 0
  for (let at = 0; at < data.length; at += 4)
    if (data[at + 3] === 0) {
      outside++
      if (data[at] || data[at + 1] || data[at + 2]) t.fail(`pixel ${at / 4} keeps its colour`)
    }
  t.ok(outside > 0)
  const { exif, xmp, icc } = await sharp(png).metadata()
  t.strictSame([exif, xmp, icc], [undefined, undefined, undefined])
})

t.test('the cutout keeps the photo inside the selection', async t => {
  const png = await forms.cutout(await maskOf().png().toBuffer(), await photoOf().png().toBuffer())
  t.equal((await sharp(png).metadata()).format, 'png')
  const pixels = await read(png)
  t.match(pixels, SIZE)
  t.strictSame(pixels.at(3, 7), [200, 100, 50, 255])
  t.strictSame(pixels.at(30, 7), [0, 0, 0, 0])
})

t.test('the noise of a JPEG is dropped, and its edges are soft', async t => {
  const grey = Buffer.from([0, 40, 64, 96, 128, 160, 192, 255])
  const size = { width: 8, height: 1 }
  const mask = await sharp(grey, { raw: { ...size, channels: 1 } })
    .png()
    .toBuffer()
  const pixels = await read(await forms.cutout(mask, await photoOf(size).png().toBuffer()))
  const alphas = [0, 1, 2, 3, 4, 5, 6, 7].map(x => pixels.at(x, 0)[3])
  t.strictSame(alphas, [0, 0, 0, 64, 128, 192, 255, 255])
})

const WIDE = { width: 24, height: 10 }
const SQUARE = { width: 16, height: 16 }

for (const format of ['jpeg', 'png', 'webp'] as const)
  for (const seen of [WIDE, SQUARE])
    t.test(`the red half of a ${seen.width} × ${seen.height} ${format} is cut out in every orientation`, async t => {
      for (let orientation = 1; orientation <= 8; orientation++) {
        const { photo, stored, pixels } = await halfRed(seen, orientation, format)
        const inSeen = await maskOfRed(seen, x => x < seen.width / 2)
        const inStored = await maskOfRed(stored, (x, y) => pixels[(y * stored.width + x) * 3] === 255)
        for (const [rule, mask, size] of [
          ['applied', inSeen, seen],
          ['ignored', inStored, stored],
        ] as const) {
          const cut = await read(await formsOf(10_000, rule).cutout(mask, photo))
          t.match(cut, size)
          const shown = Array.from({ length: size.width * size.height }, (_, at) =>
            cut.at(at % size.width, Math.floor(at / size.width)),
          ).filter(([, , , alpha]) => alpha === 255)
          t.equal(shown.length, (size.width * size.height) / 2)
          t.ok(
            shown.every(([red = 0, , blue = 0]) => red > 200 && blue < 60),
            `${rule}, orientation ${orientation}`,
          )
        }
      }
    })

t.test('a mask that contradicts the rule is believed', async t => {
  const { photo, stored } = await halfRed(WIDE, 6, 'png')
  const frame = await formsOf(10_000, 'applied').cutout(await maskOfRed(stored, () => true), photo)
  t.match(await read(frame), stored)
})

t.test('a photo with EXIF rotation is cut in the orientation of the mask', async t => {
  const turned = { width: SIZE.height, height: SIZE.width }
  const photo = await photoOf().withMetadata({ orientation: 6 }).jpeg().toBuffer()
  t.match(await read(await forms.cutout(await maskOf(turned).png().toBuffer(), photo)), turned, 'as displayed')
  t.match(await read(await forms.cutout(await maskOf().png().toBuffer(), photo)), SIZE, 'as stored')
})

t.test('a smaller mask of a nearly square photo takes the orientation of the closer aspect ratio', async t => {
  const near = formsOf(1_000_000)
  const [stored, turned] = [
    { width: 250, height: 251 },
    { width: 251, height: 250 },
  ]
  const photo = await photoOf(stored).withMetadata({ orientation: 6 }).jpeg().toBuffer()
  const cut = async (size: typeof SIZE) => read(await near.cutout(await maskOf(size).png().toBuffer(), photo))
  t.match(await cut({ width: 502, height: 500 }), turned, 'as displayed, doubled')
  t.match(await cut({ width: 500, height: 502 }), stored, 'as stored, doubled')
})

t.test('a mask of another size and the same aspect ratio is scaled', async t => {
  const pixels = await read(
    await forms.cutout(await maskOf({ width: 20, height: 10 }).png().toBuffer(), await photoOf().png().toBuffer()),
  )
  t.match(pixels, SIZE)
  t.equal(pixels.at(2, 10)[3], 255)
  t.equal(pixels.at(35, 10)[3], 0)
})

t.test('photos of every kind can be cut out', async t => {
  const mask = await maskOf().png().toBuffer()
  const kinds = {
    grey: photoOf().greyscale().jpeg(),
    cmyk: photoOf().toColourspace('cmyk').jpeg(),
    '16 bit': photoOf().toColourspace('rgb16').png(),
    webp: photoOf().webp(),
  }
  for (const [kind, photo] of Object.entries(kinds)) {
    const pixels = await read(await forms.cutout(mask, await photo.toBuffer()))
    t.equal(pixels.at(3, 3)[3], 255, kind)
    t.equal(pixels.at(30, 3)[3], 0, kind)
  }
  const glass = await photoOf().ensureAlpha(0.5).png().toBuffer()
  const alpha = (await read(await forms.cutout(mask, glass))).at(3, 3)[3] ?? 0
  t.ok(alpha > 120 && alpha < 135, 'transparent pixels stay transparent')
})

t.test('masks of every kind can be encoded', async t => {
  const kinds = {
    png: maskOf().png(),
    jpeg: maskOf().jpeg(),
    webp: maskOf().webp({ lossless: true }),
    colour: maskOf().toColourspace('srgb').png(),
    alpha: maskOf().toColourspace('srgb').ensureAlpha().png(),
  }
  for (const [kind, mask] of Object.entries(kinds)) {
    const { body, mask: facts, contentType } = await forms.rle(await mask.toBuffer())
    t.match(facts, { area: 200, bbox: [0, 0, 10, 20] }, kind)
    t.match(contentType, /^application\/json/)
    const rle = JSON.parse(body.toString())
    t.strictSame([rle.size, rle.area, [...rle.bbox]], [[20, 40], 200, [0, 0, 10, 20]], kind)
  }
  const clear = await sharp(stripe(), { raw: { ...SIZE, channels: 1 } })
    .toColourspace('srgb')
    .ensureAlpha(0)
    .png()
    .toBuffer()
  t.equal((await forms.rle(clear)).mask.area, 0, 'transparent pixels are not selected')
})

t.test('bytes that are not a mask, or not a mask of this photo, are refused', async t => {
  const [mask, photo] = [await maskOf().png().toBuffer(), await photoOf().png().toBuffer()]
  await t.rejects(forms.rle(Buffer.from('no picture')), { code: 'upstream_failed' })
  await t.rejects(forms.rle(mask.subarray(0, 60)), { code: 'upstream_failed' })
  await t.rejects(forms.cutout(Buffer.from('no picture'), photo), { code: 'upstream_failed' })
  await t.rejects(forms.cutout(await maskOf({ width: 20, height: 20 }).png().toBuffer(), photo), {
    code: 'upstream_failed',
    message: /20×20 pixels and the photo 40×20/,
  })
  await t.rejects(forms.cutout(mask, Buffer.from('no photo')), { code: 'image_unreadable' })
  await t.rejects(
    createMaskForms({ maxPixels: 100, orientation: 'applied' }).rle(mask),
    { code: 'upstream_failed' },
    'a decompression bomb',
  )
})

t.test('one form is made at a time, few may wait, and a failure blocks no other', async t => {
  const few = createMaskForms({ maxPixels: 10_000, orientation: 'applied', maxWaiting: 2 })
  const mask = await maskOf().png().toBuffer()
  const failing = few.rle(Buffer.from('no picture'))
  const waiting = few.rle(mask)
  await t.rejects(few.rle(mask), { code: 'overloaded', retryAfterSeconds: 1 })
  await t.rejects(failing, { code: 'upstream_failed' })
  t.equal((await waiting).mask.area, 200)
  t.equal((await few.rle(mask)).mask.area, 200, 'the queue has room again')
})
