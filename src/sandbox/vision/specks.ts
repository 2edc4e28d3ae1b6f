import { forEachPair, type Size } from './features.js'
import { Groups } from './regions.js'

/** Parts of up to this share of the selection are specks. */
const MAX_SPECK = 0.03

/**
 * Removes small separate parts of a mask and fills small holes, in place. Keeps the largest part,
 * and parts and holes with a pixel in `kept`.
 */
export function removeSpecks(mask: Uint8Array, size: Size, kept: readonly number[]): void {
  for (const value of [1, 0]) {
    const parts = new Groups(mask.length)
    forEachPair(size, (p, q, distance) => {
      if (distance === 1 && mask[p] === value && mask[q] === value) parts.join(p, q)
    })
    let [selected, largest] = [0, 0]
    mask.forEach((own, pixel) => {
      selected += own
      if (own === value && parts.sizeOf(pixel) > parts.sizeOf(largest)) largest = pixel
    })
    const keptParts = new Set([...kept, ...(value === 1 ? [largest] : [])].map(pixel => parts.of(pixel)))
    mask.forEach((own, pixel) => {
      if (own !== value || parts.sizeOf(pixel) > MAX_SPECK * selected || keptParts.has(parts.of(pixel))) return
      mask[pixel] = 1 - value
    })
  }
}
