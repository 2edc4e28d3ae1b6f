import sharp from 'sharp'
import t from 'tap'
import { GatewayError } from '../../src/contracts/errors.js'
import type { ImageBytes, Params } from '../../src/contracts/types.js'
import { collectBytes } from '../../src/images/byte-collector.js'
import { createImageCheck } from '../../src/images/image-check.js'
import { imageTypeOf } from '../../src/images/image-type.js'
import { animation, oddImages, png, smallPng, smallWebp, turnedJpeg } from '../fixtures/odd-images.js'

const check = createImageCheck({ maxPixels: 50_000_000, orientation: 'applied' })
const WHOLE: Params = { prompt: 'everything', overlayMask: true }

function image(bytes: Buffer): ImageBytes {
  return { type: imageTypeOf([bytes]) ?? 'jpeg', ...collectBytes(bytes) }
}

/** Returns the error code, `accepted`, or the text of any other failure, which is always wrong. */
async function verdict(checked: Promise<unknown>): Promise<string> {
  return checked.then(
    () => 'accepted',
    error => (error instanceof GatewayError ? error.code : `not a GatewayError: ${error}`),
  )
}

t.test('each of several hundred odd images is accepted or refused with the right code', async t => {
  const images = await oddImages()
  const seen = new Map<string, number>()
  const wrong: string[] = []
  for (const { name, bytes, expected } of images) {
    const actual = await verdict(check(image(bytes), WHOLE))
    seen.set(actual, (seen.get(actual) ?? 0) + 1)
    if (!(expected as readonly string[]).includes(actual))
      wrong.push(`${name}: ${actual}, not ${expected.join(' or ')}`)
  }
  t.same(wrong, [])
  t.equal(new Set(images.map(({ name }) => name)).size, images.length, 'every name is unique')
  t.ok(images.length >= 400, 'at least 400 images')
  t.same([...seen.keys()].sort(), ['accepted', 'image_too_many_pixels', 'image_unreadable', 'unsupported_image'])
})

t.test('the bytes decide the type of an image, not its declared type', async t => {
  const bytes = Buffer.from('GIF89a\x01\0\x01\0', 'latin1')
  await t.rejects(check({ ...image(bytes), type: 'png' }, WHOLE), { code: 'unsupported_image' })
  await t.rejects(check({ ...image(bytes), chunks: [] }, WHOLE), { code: 'unsupported_image' })
  await t.resolves(check({ ...image(await smallPng()), type: 'jpeg' }, WHOLE))
})

t.test('once a check exists, this process loads no other image types and no files', async t => {
  const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
  await t.rejects(sharp(svg).metadata())
  await t.rejects(sharp('test/fixtures/gain-map.jpg').metadata())
  await t.rejects(sharp(await animation(2).gif().toBuffer()).metadata())
  await t.resolves(sharp(await smallPng()).metadata())
})

t.test('an image in many chunks is checked like one in a single chunk', async t => {
  const bytes = await smallWebp(40, 30)
  const chunks = Array.from({ length: Math.ceil(bytes.length / 3) }, (_, at) => bytes.subarray(at * 3, at * 3 + 3))
  const pieces: ImageBytes = { ...image(bytes), chunks }
  await t.resolves(check(pieces, { coordinates: [[39, 29]], overlayMask: true }))
  await t.rejects(check(pieces, { coordinates: [[40, 29]], overlayMask: true }), { code: 'invalid_parameter' })
})

t.test('the limit on pixels is inclusive, and its error names the size and the limit', async t => {
  const small = createImageCheck({ maxPixels: 300, orientation: 'applied' })
  await t.resolves(small(image(png({ width: 20, height: 15 })), WHOLE))
  await t.rejects(small(image(png({ width: 20, height: 16 })), WHOLE), {
    code: 'image_too_many_pixels',
    message: /20×16 pixels.*300 pixels/,
  })
})

t.test('only one frame of an animation counts', async t => {
  const bytes = await animation(8).webp({ effort: 0 }).toBuffer()
  const small = createImageCheck({ maxPixels: 200, orientation: 'applied' })
  await t.resolves(small(image(bytes), { coordinates: [[19, 9]], overlayMask: true }))
  await t.rejects(small(image(bytes), { coordinates: [[19, 10]], overlayMask: true }), { code: 'invalid_parameter' })
})

t.test('a point must be inside the image', async t => {
  const upright = image(await turnedJpeg(40, 20, 1))
  const turned = image(await turnedJpeg(40, 20, 6))
  const flipped = image(await turnedJpeg(40, 20, 4))
  const cases: [string, ImageBytes, [number, number], boolean][] = [
    ['the first pixel', upright, [0, 0], true],
    ['the last pixel', upright, [39, 19], true],
    ['between the last pixel and the edge', upright, [39.9, 19.9], true],
    ['the right edge', upright, [40, 0], false],
    ['the lower edge', upright, [0, 20], false],
    ['inside only if turned, and not turned', upright, [10, 30], false],
    ['inside only if turned, and upside down', flipped, [10, 30], false],
    ['inside as turned', turned, [10, 30], true],
    ['inside as stored', turned, [30, 10], true],
    ['inside of neither', turned, [30, 30], false],
    ['far away', turned, [1e300, 0], false],
  ]
  for (const [name, subject, point, inside] of cases) {
    for (const params of [{ coordinates: [point] }, { removeCoordinates: [point] }]) {
      const actual = await verdict(check(subject, { ...params, overlayMask: true }))
      t.equal(actual, inside ? 'accepted' : 'invalid_parameter', `${name}, ${Object.keys(params)[0]}`)
    }
  }
})

t.test('one frame must hold all points of both fields', async t => {
  const turned = image(await turnedJpeg(40, 20, 6))
  const wide = [30, 10] as const
  const tall = [10, 30] as const
  const both = [5, 5] as const
  const cases: [Params, boolean][] = [
    [{ coordinates: [wide, both], removeCoordinates: [both], overlayMask: true }, true],
    [{ coordinates: [both, tall], removeCoordinates: [tall], overlayMask: true }, true],
    [{ coordinates: [wide, tall], overlayMask: true }, false],
    [{ coordinates: [wide], removeCoordinates: [both, tall], overlayMask: true }, false],
  ]
  for (const [params, isAccepted] of cases)
    t.equal(await verdict(check(turned, params)), isAccepted ? 'accepted' : 'invalid_parameter')
  await t.rejects(check(turned, { coordinates: [wide], removeCoordinates: [both, tall], overlayMask: true }), {
    message: /^remove_coordinates: point 2, \[10,30\], and coordinates: point 1, \[30,10\], are in different frames\./,
  })
})

t.test('the error of a point outside names the field, the point and the size', async t => {
  const turned = image(await turnedJpeg(40, 20, 6))
  const outside = [500, 3.5] as const
  const params: Params = { coordinates: [[1, 1]], removeCoordinates: [[2, 2], outside], overlayMask: true }
  await t.rejects(check(turned, params), {
    code: 'invalid_parameter',
    message:
      'remove_coordinates: point 2, [500,3.5], is outside the image, which is 40×20 pixels, or with EXIF rotation 20×40 pixels.',
  })
})

t.test('the error of an unreadable image keeps the message of libvips for the log and out of its detail', async t => {
  const error = await check(image(Buffer.from([0xff, 0xd8, 0xff])), WHOLE).catch((reason: unknown) => reason)
  t.ok(error instanceof GatewayError && error.cause instanceof Error)
  t.notMatch((error as Error).message, /vips/i)
})
