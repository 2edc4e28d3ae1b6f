import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import t from 'tap'
import type { Point } from '../../../src/contracts/types.js'
import { segmentPhoto } from '../../../src/sandbox/vision/segment-photo.js'
import { discAndSquare, readMask } from '../drawing.js'

interface Selection {
  prompt?: string
  points?: Point[]
  removed?: Point[]
}

async function maskOf(image: Uint8Array, { prompt, points = [], removed = [] }: Selection) {
  const question = { image, points, removed, overlay: false, ...(prompt === undefined ? {} : { prompt }) }
  const answer = await segmentPhoto(question)
  if ('refused' in answer) throw new Error(answer.refused)
  return readMask(answer.jpeg)
}

const photo = (name: string) => readFile(join(process.cwd(), 'examples/photos', name))

const DISC: Point = [36, 40]
const SQUARE: Point = [90, 38]

t.test('on a drawing, a selection contains the right shapes', async t => {
  const drawing = await discAndSquare()
  const cases: { selection: Selection; disc: boolean; square: boolean; background: boolean }[] = [
    { selection: { points: [DISC] }, disc: true, square: false, background: false },
    { selection: { points: [SQUARE] }, disc: false, square: true, background: false },
    { selection: { points: [DISC, SQUARE] }, disc: true, square: true, background: false },
    { selection: { points: [[5, 5]] }, disc: false, square: false, background: true },
    { selection: { prompt: 'red ball' }, disc: true, square: false, background: false },
    { selection: { prompt: 'the blue one' }, disc: false, square: true, background: false },
    { selection: { prompt: 'thing on the right' }, disc: false, square: true, background: false },
    { selection: { prompt: 'left' }, disc: true, square: false, background: false },
    { selection: { points: [DISC, SQUARE], removed: [[100, 50]] }, disc: true, square: true, background: false },
    { selection: { prompt: 'red', points: [SQUARE] }, disc: true, square: false, background: false },
  ]
  for (const { selection, ...expected } of cases) {
    const mask = await maskOf(drawing, selection)
    const seen = { disc: mask.at(...DISC), square: mask.at(...SQUARE), background: mask.at(60, 70) }
    t.strictSame(seen, expected, JSON.stringify(selection))
  }
})

t.test('the mask of a disc has the size of the disc', async t => {
  const mask = await maskOf(await discAndSquare(), { points: [DISC] })
  const disc = Math.PI * 20 * 20
  t.ok(Math.abs(mask.selected - disc) < 0.08 * disc, `${mask.selected} pixels`)
})

t.test('a removed point is outside, a kept point inside, and the selection shrinks', async t => {
  const cases: { name: string; points: Point[]; removed: Point[] }[] = [
    { name: 'astronaut.jpg', points: [[80, 330]], removed: [[60, 420]] },
    { name: 'rocket.jpg', points: [[300, 100]], removed: [[420, 200]] },
    {
      name: 'coffee.jpg',
      points: [
        [290, 60],
        [130, 250],
      ],
      removed: [[250, 170]],
    },
  ]
  for (const { name, points, removed } of cases) {
    const image = await photo(name)
    const whole = await maskOf(image, { points })
    const part = await maskOf(image, { points, removed })
    t.ok(
      removed.every(([x, y]) => whole.at(x, y) && !part.at(x, y)),
      `${name}: removed`,
    )
    t.ok(
      points.every(([x, y]) => part.at(x, y)),
      `${name}: kept`,
    )
    t.ok(part.selected < whole.selected, `${name}: smaller`)
  }
})

t.test('points and prompts on the sample photos select the expected object', async t => {
  const cases: { name: string; selection: Selection; inside: Point[]; outside: Point[] }[] = [
    {
      name: 'coffee.jpg',
      selection: { points: [[290, 200]] },
      inside: [
        [290, 60],
        [230, 100],
        [380, 130],
      ],
      outside: [
        [500, 300],
        [130, 250],
        [550, 60],
      ],
    },
    {
      name: 'coffee.jpg',
      selection: { prompt: 'coffee cup' },
      inside: [
        [290, 60],
        [290, 160],
      ],
      outside: [
        [500, 300],
        [30, 30],
      ],
    },
    {
      name: 'coffee.jpg',
      selection: { prompt: 'red saucer' },
      inside: [
        [110, 250],
        [430, 280],
      ],
      outside: [
        [290, 60],
        [550, 250],
      ],
    },
    {
      name: 'cat.jpg',
      selection: { prompt: 'cat' },
      inside: [
        [180, 115],
        [270, 60],
        [260, 240],
        [60, 130],
      ],
      outside: [
        [435, 90],
        [430, 200],
      ],
    },
    {
      name: 'rocket.jpg',
      selection: { prompt: 'rocket' },
      inside: [
        [321, 200],
        [321, 300],
      ],
      outside: [
        [150, 100],
        [40, 200],
        [500, 200],
      ],
    },
    {
      name: 'rocket.jpg',
      selection: { prompt: 'blue sky' },
      inside: [
        [200, 50],
        [420, 100],
      ],
      outside: [[321, 250]],
    },
    {
      name: 'astronaut.jpg',
      selection: { points: [[80, 330]] },
      inside: [
        [100, 280],
        [60, 430],
      ],
      outside: [
        [230, 90],
        [430, 60],
        [390, 430],
      ],
    },
    {
      name: 'astronaut.jpg',
      selection: { prompt: 'orange suit' },
      inside: [
        [80, 330],
        [320, 330],
      ],
      outside: [
        [230, 90],
        [390, 430],
        [30, 200],
      ],
    },
    {
      name: 'astronaut.jpg',
      selection: { points: [[230, 90]] },
      inside: [
        [205, 120],
        [180, 60],
      ],
      outside: [
        [300, 150],
        [100, 330],
      ],
    },
  ]
  for (const { name, selection, inside, outside } of cases) {
    const mask = await maskOf(await photo(name), selection)
    const where = `${name} ${JSON.stringify(selection)}`
    for (const [x, y] of inside) t.ok(mask.at(x, y), `${where}: ${x},${y} is inside`)
    for (const [x, y] of outside) t.notOk(mask.at(x, y), `${where}: ${x},${y} is outside`)
  }
})

t.test('the background is everything except the main object', async t => {
  const image = await photo('cat.jpg')
  const [cat, background] = [await maskOf(image, { prompt: 'cat' }), await maskOf(image, { prompt: 'the background' })]
  t.notOk(background.at(180, 115))
  t.ok(background.at(435, 90))
  t.ok(Math.abs(cat.selected + background.selected - 451 * 300) < 0.05 * 451 * 300)
})

t.test('points and mask refer to the photo as EXIF turns it', async t => {
  const turned = await sharp(await discAndSquare())
    .rotate(90)
    .jpeg()
    .withMetadata({ orientation: 8 })
    .toBuffer()
  const mask = await maskOf(turned, { points: [DISC] })
  t.match(mask, { width: 120, height: 80 })
  t.ok(mask.at(...DISC))
  t.notOk(mask.at(...SQUARE))
})

t.test('an overlay changes only the selection and its outline', async t => {
  const image = await discAndSquare()
  const answer = await segmentPhoto({ image, points: [DISC], removed: [], overlay: true })
  if ('refused' in answer) throw new Error(answer.refused)
  const pixels = (bytes: Uint8Array) => sharp(bytes).removeAlpha().raw().toBuffer()
  const [before, after] = [await pixels(image), await pixels(answer.jpeg)]
  const change = ([x, y]: Point) =>
    [0, 1, 2].reduce(
      (sum, c) => sum + Math.abs((before[3 * (y * 120 + x) + c] ?? 0) - (after[3 * (y * 120 + x) + c] ?? 0)),
      0,
    )
  t.ok(change(DISC) > 90)
  t.ok(change(SQUARE) < 20)
  t.ok(change([60, 70]) < 20)
})
