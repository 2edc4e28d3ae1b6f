import sharp from 'sharp'
import t from 'tap'
import { segmentPhoto } from '../../../src/sandbox/vision/segment-photo.js'
import { discAndSquare } from '../drawn.js'

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
  t.test(`${name}: a picture of the same size comes back, for a point, a prompt and a removed point`, async t => {
    const image = await make()
    const { width, height = 1, pageHeight } = await sharp(image).metadata()
    for (const asked of [
      { points: [[0, 0]] as const },
      { prompt: 'red thing' },
      { prompt: 'x', removed: [[0, 0]] as const },
    ]) {
      const answer = await segmentPhoto({ image, points: [], removed: [], overlay: true, ...asked })
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
  t.test(`${name} is refused with a sentence`, async t => {
    const answer = await segmentPhoto({ image: await make(), points: [[1, 1]], removed: [], overlay: true })
    t.match(answer, { refused: /^image/ })
  })
}

t.test('more than 64 million pixels are refused before they are decoded', async t => {
  const image = await sharp({ create: { width: 9000, height: 8000, channels: 3, background: '#000' } })
    .png()
    .toBuffer()
  t.match(await segmentPhoto({ image, prompt: 'x', points: [], removed: [], overlay: true }), { refused: /^image/ })
})

t.test(
  'a point outside in either orientation is refused, one that only the other orientation holds is taken',
  async t => {
    const image = await discAndSquare()
    const ask = (points: [number, number][]) => segmentPhoto({ image, points, removed: [], overlay: false })
    t.match(await ask([[121, 5]]), { refused: /^\[121,5\] lies outside/ })
    t.match(await ask([[100, 100]]), { refused: /outside/ })
    t.match(await ask([[5, 115]]), { width: 120 })
    t.match(await ask([[120, 80]]), { width: 120 })
  },
)
