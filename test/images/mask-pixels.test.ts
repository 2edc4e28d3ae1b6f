import { readFile } from 'node:fs/promises'
import sharp, { type Sharp } from 'sharp'
import t from 'tap'
import type { Size } from '../../src/contracts/types.js'
import { readMask } from '../../src/images/mask-pixels.js'
import { smallJpeg, smallPng, smallWebp } from '../fixtures/odd-images.js'

const SIZE = { width: 40, height: 32 }
const PIXELS = SIZE.width * SIZE.height
/** The selection of every mask: 16 × 24 pixels, in whole JPEG blocks. */
const isSelected = (x: number, y: number) => x >= 8 && x < 24 && y < 24

type Colour = readonly number[]

/** Draws the selection in one colour on another. */
function drawn(selected: Colour, other: Colour): Sharp {
  const channels = selected.length as 1 | 2 | 3 | 4
  const pixels = Buffer.alloc(PIXELS * channels)
  for (let pixel = 0; pixel < PIXELS; pixel++)
    pixels.set(isSelected(pixel % SIZE.width, Math.floor(pixel / SIZE.width)) ? selected : other, pixel * channels)
  return sharp(pixels, { raw: { ...SIZE, channels } })
}

/** Draws the selection in 16 bits. */
function deep(selected: number): Sharp {
  const pixels = Uint16Array.from({ length: PIXELS }, (_, pixel) =>
    isSelected(pixel % SIZE.width, Math.floor(pixel / SIZE.width)) ? selected : 0,
  )
  return sharp(pixels, { raw: { ...SIZE, channels: 1 } }).toColourspace('grey16')
}

const read = async (mask: Sharp | Buffer, size?: Size) =>
  readMask(Buffer.isBuffer(mask) ? mask : await mask.toBuffer(), { maxPixels: 1_000_000, size })

const isRight = ({ data }: { data: Uint8Array }) =>
  data.every((value, pixel) => value >= 128 === isSelected(pixel % SIZE.width, Math.floor(pixel / SIZE.width)))

const [WHITE, BLACK, RED, BLUE] = [
  [255, 255, 255],
  [0, 0, 0],
  [255, 0, 0],
  [0, 0, 255],
] as const

t.test('every encoding of a mask that is certain gives the same pixels', async t => {
  const palette = { palette: true, colours: 2 }
  const masks: Record<string, Sharp> = {
    'white on black, PNG': drawn([255], [0]).png(),
    'white on black, JPEG': drawn([255], [0]).jpeg({ quality: 40 }),
    'white on black, JPEG in colour': drawn(WHITE, BLACK).jpeg({ quality: 60 }),
    'white on black, lossy WebP': drawn(WHITE, BLACK).webp({ quality: 60 }),
    'nearly white on nearly black': drawn([235], [16]).png(),
    '0 and 1': drawn([1], [0]).png(),
    '0 and 1 in colour': drawn([1, 1, 1], BLACK).png(),
    '0 and 1, lossless WebP': drawn([1, 1, 1], BLACK).webp({ lossless: true }),
    '0 and 38, a number of a class': drawn([38], [0]).png(),
    'a palette': drawn(WHITE, BLACK).png(palette),
    'a palette with transparency': drawn([255, 255, 255, 255], [0, 0, 0, 0]).png(palette),
    'one bit': drawn([255], [0])
      .toColourspace('b-w')
      .png({ bitdepth: 1 } as object),
    '16 bits': deep(65_535).png(),
    '16 bits, 0 and 1': deep(1).png(),
    '16 bits, 0 and 255': deep(255).png(),
    'red on black, PNG': drawn(RED, BLACK).png(),
    'red on black, JPEG': drawn(RED, BLACK).jpeg({ quality: 80 }),
    'the blue of an overlay on black': drawn([30, 144, 255], BLACK).jpeg({ quality: 90 }),
    'a dark red on black': drawn([128, 0, 0], BLACK).png(),
    'white on transparency': drawn([255, 255, 255, 255], [255, 255, 255, 0]).png(),
    'black on transparency': drawn([0, 0, 0, 255], [0, 0, 0, 0]).png(),
    'red on transparency': drawn([255, 0, 0, 255], [7, 7, 7, 0]).png(),
    'opaque white on opaque black': drawn([255, 255, 255, 255], [0, 0, 0, 255]).png(),
    'grey and alpha': drawn([255, 255], [0, 255]).png(),
    CMYK: drawn(WHITE, BLACK).toColourspace('cmyk').jpeg({ quality: 95 }),
  }
  for (const [name, mask] of Object.entries(masks)) {
    const pixels = await read(mask).catch((error: Error) => error)
    t.ok('data' in pixels && isRight(pixels), name)
  }
})

t.test('nothing and everything can be selected', async t => {
  const levels = async (mask: Sharp) => [...new Set((await read(mask)).data)]
  for (const format of ['png', 'jpeg', 'webp'] as const) {
    t.strictSame(await levels(drawn(BLACK, BLACK).toFormat(format)), [0], format)
    t.strictSame(await levels(drawn(WHITE, WHITE).toFormat(format)), [255], format)
  }
  t.strictSame(await levels(drawn([9, 9, 9, 0], [9, 9, 9, 0]).png()), [0], 'transparent')
})

t.test('a mask that leaves a doubt is refused', async t => {
  const noise = {
    create: { ...SIZE, channels: 3, background: 'grey', noise: { type: 'gaussian', mean: 128, sigma: 60 } },
  }
  const pictures: Record<string, Sharp | Buffer> = {
    'a photo, JPEG': await smallJpeg(90, 70),
    'a photo, PNG': await smallPng(90, 70),
    'a photo, WebP': await smallWebp(90, 70),
    noise: sharp(noise as object).png(),
    'red on white': drawn(RED, WHITE).png(),
    'red on blue': drawn(RED, BLUE).png(),
    'a little red on white, JPEG': drawn(RED, WHITE).jpeg(),
    'grey on grey': drawn([200], [100]).png(),
    '1 and 2': drawn([2], [1]).png(),
    '0 and 1, JPEG': drawn([1], [0]).jpeg({ quality: 100 }),
    'one grey': drawn([123], [123]).png(),
    'everything is 1': drawn([1], [1]).png(),
    'half transparent everywhere': drawn([255, 255, 255, 100], [255, 255, 255, 100]).png(),
    'no picture': Buffer.from('no picture'),
  }
  for (const [name, picture] of Object.entries(pictures))
    await t.rejects(read(picture), { code: 'upstream_failed', retryable: false, message: /is no mask/ }, name)
})

t.test('photos of the examples are no masks, in any brightness', async t => {
  for (const name of ['cat', 'coffee', 'astronaut', 'rocket']) {
    const photo = await readFile(`examples/photos/${name}.jpg`)
    for (const brightness of [0.2, 0.5, 1, 2])
      await t.rejects(
        read(sharp(photo).resize(300).modulate({ brightness }).jpeg()),
        { message: /is no mask/ },
        `${name}, ${brightness}`,
      )
  }
})

t.test('small shapes, thin shapes and soft edges are read at any usual quality', async t => {
  for (const [width, height, radius] of [
    [16, 16, 5],
    [100, 80, 30],
    [100, 80, 5],
    [600, 400, 8],
  ] as const)
    for (const quality of [30, 50, 75, 95]) {
      const grey = Buffer.alloc(width * height)
      for (let pixel = 0; pixel < grey.length; pixel++) {
        const [x, y] = [(pixel % width) % (4 * radius), Math.floor(pixel / width) % (4 * radius)]
        if ((x - 2 * radius) ** 2 + (y - 2 * radius) ** 2 < radius ** 2) grey[pixel] = 255
      }
      const soft = sharp(grey, { raw: { width, height, channels: 1 } }).blur(0.5)
      await t.resolves(read(soft.jpeg({ quality })), `${width}×${height}, radius ${radius}, quality ${quality}`)
    }
})

t.test('a mask is scaled by the nearest pixel', async t => {
  const mask = sharp(Buffer.from([255, 0, 0, 0, 255, 0]), { raw: { width: 3, height: 2, channels: 1 } }).png()
  const double = await read(mask, { width: 6, height: 4 })
  t.strictSame(
    [0, 1, 2, 3].map(y => [...double.data.subarray(6 * y, 6 * y + 6)].map(value => value && 1).join('')),
    ['110000', '110000', '001100', '001100'],
  )
  const one = await read(mask, { width: 3, height: 3 })
  t.match({ width: one.width, height: one.height }, { width: 3, height: 3 })
  t.equal((await read(drawn([255], [0]).png(), { width: 20, height: 16 })).data.filter(value => value).length, 8 * 12)
})
