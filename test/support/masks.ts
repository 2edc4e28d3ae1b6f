import fc from 'fast-check'
import type { Outline, OutlinePolygon, Ring } from '../../src/images/outline.js'
import type { GreyPixels } from '../../src/images/rle.js'

/** Draws a mask: `#` is selected. */
export function drawn(...rows: string[]): GreyPixels {
  const width = rows[0]?.length ?? 0
  return { width, height: rows.length, data: Uint8Array.from(rows.join(''), sign => (sign === '#' ? 255 : 0)) }
}

const SIDE = fc.integer({ min: 1, max: 24 })

/**
 * Random masks: noise of any density, and unions and differences of boxes, which nest and touch.
 */
export const MASKS: fc.Arbitrary<GreyPixels> = fc
  .record({ width: SIDE, height: SIDE })
  .chain(({ width, height }) => fc.oneof(noise(width, height), boxes(width, height)))

function noise(width: number, height: number): fc.Arbitrary<GreyPixels> {
  const size = width * height
  return fc
    .record({
      density: fc.integer({ min: 0, max: 100 }),
      grains: fc.array(fc.integer({ min: 0, max: 99 }), { minLength: size, maxLength: size }),
    })
    .map(({ density, grains }) => ({
      width,
      height,
      data: Uint8Array.from(grains, grain => (grain < density ? 255 : 0)),
    }))
}

function boxes(width: number, height: number): fc.Arbitrary<GreyPixels> {
  const [x, y] = [fc.integer({ min: 0, max: width }), fc.integer({ min: 0, max: height })]
  const box = fc.record({ x1: x, x2: x, y1: y, y2: y, value: fc.constantFrom(0, 255) })
  return fc.array(box, { maxLength: 12 }).map(list => {
    const data = new Uint8Array(width * height)
    for (const { x1, x2, y1, y2, value } of list)
      for (let row = Math.min(y1, y2); row < Math.max(y1, y2); row++)
        data.fill(value, row * width + Math.min(x1, x2), row * width + Math.max(x1, x2))
    return { width, height, data }
  })
}

export function ringsOf({ polygons }: Pick<Outline, 'polygons'>): Ring[] {
  return polygons.flatMap(({ exterior, holes }: OutlinePolygon) => [exterior, ...holes])
}

export type Corner = [x: number, y: number]

export function cornersOf(ring: ArrayLike<number>): Corner[] {
  return Array.from({ length: ring.length / 2 }, (_, at) => [
    ring[2 * at] ?? Number.NaN,
    ring[2 * at + 1] ?? Number.NaN,
  ])
}

/**
 * Fills rings even-odd: a pixel is selected if a ray from its centre crosses an odd number of
 * sides.
 */
export function filled({ width, height }: { width: number; height: number }, rings: readonly Corner[][]): Uint8Array {
  const data = new Uint8Array(width * height)
  for (let row = 0; row < height; row++) {
    const crossings: number[] = []
    const y = row + 0.5
    for (const ring of rings)
      ring.forEach(([x2, y2], at) => {
        const [x1, y1] = ring.at(at - 1) ?? [x2, y2]
        if (y1 < y !== y2 < y) crossings.push(x1 + ((y - y1) / (y2 - y1)) * (x2 - x1))
      })
    for (let x = 0; x < width; x++)
      if (crossings.filter(crossing => crossing < x + 0.5).length % 2 === 1) data[row * width + x] = 255
  }
  return data
}
