import sharp from 'sharp'
import t from 'tap'
import { segmentPhoto } from '../../../src/sandbox/vision/segment-photo.js'
import { discAndSquare } from '../drawing.js'

const blank = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: '#7a5' } })
    .png()
    .toBuffer()
const drawing = async () => sharp(await discAndSquare())

const odd: { name: string; make: () => Promise<Buffer> }[] = [
  { name: 'one pixel', make: () => blank(1, 1) },
  { name: 'two pixels', make: () => blank(2, 1) },
  { name: 'one column of 5000', make: () => blank(1, 5000) },
  { name: 'one row of 5000', make: () => blank(5000, 1) },
  { name: 'one colour', make: () => blank(64, 64) },
  { name: 'grey', make: async () => (await drawing()).greyscale().jpeg().toBuffer() },
  { name: 'CMYK', make: async () => (await drawing()).toColourspace('cmyk').jpeg().toBuffer() },
  { name: '16 bits', make: async () => (await drawing()).toColourspace('rgb16').png().toBuffer() },
  { name: '16 bits grey', make: async () => (await drawing()).toColourspace('grey16').png().toBuffer() },
  { name: 'a palette', make: async () => (await drawing()).png({ palette: true, colours: 4 }).toBuffer() },
  { name: 'alpha', make: async () => (await drawing()).ensureAlpha(0.3).png().toBuffer() },
  { name: 'grey with alpha', make: async () => (await drawing()).greyscale().ensureAlpha(0.5).png().toBuffer() },
  { name: 'WebP with alpha', make: async () => (await drawing()).ensureAlpha(0.5).webp().toBuffer() },
  {
    name: 'animated WebP',
    make: async () =>
      sharp([await discAndSquare(), await discAndSquare()], { join: { animated: true } })
        .webp()
        .toBuffer(),
  },
]
for (const { name, make } of odd) {
  t.test(`${name}: the result has the size of the photo, for a point, a prompt and a removed point`, async t => {
    const image = await make()
    const { width, height = 1, pageHeight } = await sharp(image).metadata()
    for (const selection of [
      { points: [[0, 0]] as const },
      { prompt: 'red thing' },
      { prompt: 'x', removed: [[0, 0]] as const },
    ]) {
      const answer = await segmentPhoto({ image, points: [], removed: [], overlay: true, ...selection })
      t.match(answer, { width, height: pageHeight ?? height })
      t.match(await sharp('jpeg' in answer ? answer.jpeg : Buffer.alloc(0)).metadata(), { format: 'jpeg', width })
    }
  })
}

const refused: { name: string; make: () => Promise<Buffer> }[] = [
  { name: 'text', make: async () => Buffer.from('not a picture') },
  { name: 'a GIF', make: async () => (await drawing()).gif().toBuffer() },
  { name: 'an SVG', make: async () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>') },
  { name: 'a cut JPEG', make: async () => (await (await drawing()).jpeg().toBuffer()).subarray(0, 900) },
  { name: 'a JPEG header alone', make: async () => Buffer.from('ffd8ffe000104a46', 'hex') },
]
for (const { name, make } of refused) {
  t.test(`${name} is refused with a message`, async t => {
    const answer = await segmentPhoto({ image: await make(), points: [[1, 1]], removed: [], overlay: true })
    t.match(answer, { refused: /^image/ })
  })
}

t.test('a photo of more than 64 million pixels is refused before decoding', async t => {
  const image = await sharp({ create: { width: 9000, height: 8000, channels: 3, background: '#000' } })
    .png()
    .toBuffer()
  t.match(await segmentPhoto({ image, prompt: 'x', points: [], removed: [], overlay: true }), { refused: /^image/ })
})

t.test('a point is refused only if it is outside the photo in both orientations', async t => {
  const image = await discAndSquare()
  const segment = (points: [number, number][]) => segmentPhoto({ image, points, removed: [], overlay: false })
  t.match(await segment([[121, 5]]), { refused: /^\[121,5\] lies outside/ })
  t.match(await segment([[100, 100]]), { refused: /outside/ })
  t.match(await segment([[5, 115]]), { width: 120 })
  t.match(await segment([[120, 80]]), { width: 120 })
})
