/** A mask of 0 and 1, row by row. */
export interface Mask {
  width: number
  height: number
  inside: Uint8Array
}

/** Islands smaller than this share of the selection are dropped, and lakes smaller than this are filled. */
const SPECK = 0.03

/** Drops specks outside the selection's main parts and fills small holes in it; `keep` names pixels whose part is never changed. */
export function tidy(mask: Mask, keep: ReadonlySet<number>): void {
  flipSpecks(mask, 1, keep)
  flipSpecks(mask, 0, keep)
}

function flipSpecks(mask: Mask, value: 0 | 1, keep: ReadonlySet<number>): void {
  const selected = mask.inside.reduce((sum, inside) => sum + inside, 0)
  const parts = partsOf(mask, value)
  const largest = Math.max(0, ...parts.map(part => part.length))
  for (const part of parts) {
    const main = value === 1 && part.length === largest
    if (main || part.length > SPECK * selected || part.some(pixel => keep.has(pixel))) continue
    for (const pixel of part) mask.inside[pixel] = 1 - value
  }
}

/** Connected parts (by the sides of pixels) of equal value. */
function partsOf({ width, inside }: Mask, value: 0 | 1): number[][] {
  const waiting = inside.map(own => (own === value ? 1 : 0))
  const parts: number[][] = []
  for (let start = 0; start < inside.length; start++) {
    if (!waiting[start]) continue
    const part: number[] = []
    const take = (pixel: number) => {
      if (!waiting[pixel]) return
      waiting[pixel] = 0
      part.push(pixel)
    }
    take(start)
    for (let next = 0; next < part.length; next++) {
      const pixel = part[next] ?? 0
      if (pixel % width > 0) take(pixel - 1)
      if (pixel % width < width - 1) take(pixel + 1)
      take(pixel - width)
      take(pixel + width)
    }
    parts.push(part)
  }
  return parts
}
