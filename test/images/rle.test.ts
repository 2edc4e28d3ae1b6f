import fc from 'fast-check'
import t from 'tap'
import { encodeCounts, encodeRle } from '../../src/images/rle.js'

/** Decodes COCO's text by its definition, with other code than the encoder's. */
function decode(text: string): number[] {
  const numbers: number[] = []
  let value = 0
  let weight = 1
  for (const character of text) {
    const group = character.charCodeAt(0) - 48
    value += (group & 31) * weight
    weight *= 32
    if (group & 32) continue
    if (group & 16) value -= weight
    numbers.push(numbers.length > 2 ? value + (numbers.at(-2) ?? 0) : value)
    value = 0
    weight = 1
  }
  return numbers
}

/** Returns the selected positions of runs, down the columns. */
function pixelsOf(counts: readonly number[], { width, height }: { width: number; height: number }): boolean[] {
  const columns: boolean[] = counts.flatMap((count, index) => Array(count).fill(index % 2 === 1))
  const rows: boolean[] = []
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) rows.push(columns[x * height + y] ?? false)
  return rows
}

function naive(rows: readonly boolean[], width: number) {
  const places = rows.flatMap((isIn, at) => (isIn ? [[at % width, Math.floor(at / width)] as const] : []))
  const [xs, ys] = [places.map(([x]) => x), places.map(([, y]) => y)]
  if (places.length === 0) return { bbox: [0, 0, 0, 0], area: 0 }
  const [left, top] = [Math.min(...xs), Math.min(...ys)]
  return { bbox: [left, top, Math.max(...xs) - left + 1, Math.max(...ys) - top + 1], area: places.length }
}

const encoded = (width: number, height: number, rows: readonly boolean[]) =>
  encodeRle({ width, height, data: Uint8Array.from(rows, isIn => (isIn ? 255 : 0)) })

t.test('runs are encoded as by pycocotools', async t => {
  // Computed by hand from the definition: groups of 5 bits, lowest first; 32 marks that more
  // follow, 16 in the last group a negative number; 48 is added to each.
  t.equal(encodeCounts([0]), '0')
  t.equal(encodeCounts([15]), '?')
  t.equal(encodeCounts([16]), '`0', '16 alone would be negative')
  t.equal(encodeCounts([6, 1, 40, 4, 5, 4, 5, 4, 21]), '61X13mN000`0', 'differences from the fourth on')
  t.equal(encodeCounts([1, 2, 3, 1]), '123O', 'a difference of -1 is one group of ones')
})

t.test('a mask is read down its columns, and the first run is not selected', async t => {
  t.match(await encoded(2, 2, [true, false, true, false]), {
    counts: encodeCounts([0, 2, 2]),
    bbox: [0, 0, 1, 2],
    area: 2,
  })
  t.match(await encoded(2, 2, [false, false, false, true]), { counts: encodeCounts([3, 1]), bbox: [1, 1, 1, 1] })
  t.match(await encoded(3, 1, [false, false, false]), { counts: encodeCounts([3]), bbox: [0, 0, 0, 0], area: 0 })
})

t.test('many counts, and large differences in both directions, are decoded to the same values', t => {
  const counts = Array.from({ length: 20_000 }, (_, at) => (at % 4 < 2 ? 1 : 2 ** 30))
  t.strictSame(decode(encodeCounts(counts)), counts)
  t.end()
})

t.test('128 is selected, 127 is not', async t => {
  const { area, bbox } = await encodeRle({ width: 2, height: 1, data: Uint8Array.of(127, 128) })
  t.strictSame({ area, bbox }, { area: 1, bbox: [1, 0, 1, 1] })
})

t.test('every mask is decoded to the same pixels, with its box and area', async t => {
  const masks = fc
    .record({ width: fc.integer({ min: 1, max: 40 }), height: fc.integer({ min: 1, max: 40 }) })
    .chain(size =>
      fc.record({
        width: fc.constant(size.width),
        height: fc.constant(size.height),
        rows: fc.array(fc.boolean(), { minLength: size.width * size.height, maxLength: size.width * size.height }),
      }),
    )
  await fc.assert(
    fc.asyncProperty(masks, async ({ width, height, rows }) => {
      const { counts, bbox, area } = await encoded(width, height, rows)
      t.strictSame(pixelsOf(decode(counts), { width, height }), rows)
      t.strictSame({ bbox: [...bbox], area }, naive(rows, width))
    }),
  )
})

t.test('large masks, with long or very short runs, yield to the event loop', async t => {
  const [width, height] = [2_000, 1_100]
  let turns = 0
  const timer = setInterval(() => turns++, 0)
  for (const isIn of [(at: number) => at >= 5, (at: number) => (at + Math.floor(at / width)) % 2 === 0]) {
    const rows = Array.from({ length: width * height }, (_, at) => isIn(at))
    const { counts, area } = await encoded(width, height, rows)
    t.equal(area, rows.filter(Boolean).length)
    t.ok(pixelsOf(decode(counts), { width, height }).every((found, at) => found === rows[at]))
  }
  clearInterval(timer)
  t.ok(turns > 0)
})
