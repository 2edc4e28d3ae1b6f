/** Parts of up to this share of the selection are specks. */
const MAX_SPECK = 0.03

/**
 * Removes small separate parts of a mask and fills small holes, in place. Keeps the largest part,
 * and parts and holes with a pixel in `kept`.
 */
export function removeSpecks(mask: Uint8Array, width: number, kept: ReadonlySet<number>): void {
  for (const value of [1, 0]) {
    const selected = mask.reduce((sum, own) => sum + own, 0)
    const parts = partsOf(mask, width, value)
    const largest = Math.max(0, ...parts.map(part => part.length))
    for (const part of parts) {
      const isMain = value === 1 && part.length === largest
      if (isMain || part.length > MAX_SPECK * selected || part.some(pixel => kept.has(pixel))) continue
      for (const pixel of part) mask[pixel] = 1 - value
    }
  }
}

/** Returns the connected parts of equal value. Neighbours share a side. */
function partsOf(mask: Uint8Array, width: number, value: number): number[][] {
  const waiting = mask.map(own => (own === value ? 1 : 0))
  const parts: number[][] = []
  for (let start = 0; start < mask.length; start++) {
    if (!waiting[start]) continue
    const part: number[] = []
    const take = (pixel: number) => {
      if (!waiting[pixel]) return
      waiting[pixel] = 0
      part.push(pixel)
    }
    take(start)
    for (const pixel of part) {
      if (pixel % width > 0) take(pixel - 1)
      if ((pixel + 1) % width > 0) take(pixel + 1)
      take(pixel - width)
      take(pixel + width)
    }
    parts.push(part)
  }
  return parts
}
