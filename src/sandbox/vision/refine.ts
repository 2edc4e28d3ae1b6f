import { blur, FEATURES } from './features.js'
import type { Analysis } from './objects.js'

/** Largest correction of the outline, in pixels. */
const REACH = 4
const ROUNDS = 2
/** Limit of the evidence of one pixel: a difference of squared colour distances. */
const MAX_EVIDENCE = 400
/** Evidence in favour of the rough mask. */
const INERTIA = 200

/**
 * Moves the outline of a rough mask to the nearest change of colour. Compares each pixel near the
 * outline with the mean colours around it on both sides.
 */
export function refine(analysis: Analysis, rough: Uint8Array): Uint8Array {
  const near = blur(Float32Array.from(rough), analysis, REACH)
  let mask = rough
  for (let round = 0; round < ROUNDS; round++) {
    const [outside, inside] = [distances(analysis, mask, 0), distances(analysis, mask, 1)]
    const evidence = near.map((share, pixel) => {
      const difference = (outside[pixel] ?? 0) - (inside[pixel] ?? 0)
      return Math.min(MAX_EVIDENCE, Math.max(-MAX_EVIDENCE, difference)) + INERTIA * (share - 0.5)
    })
    const smooth = blur(evidence, analysis, 2)
    mask = rough.map((value, pixel) => ((near[pixel] ?? 0) % 1 === 0 ? value : Number((smooth[pixel] ?? 0) > 0)))
  }
  return mask
}

/** Returns the squared distance of each pixel from the mean colour of one side around it. */
function distances(analysis: Analysis, mask: Uint8Array, side: number): Float32Array {
  const { features } = analysis
  const weights = Float32Array.from(mask, value => (value === side ? 1 : 0.001))
  const weighted = features.map((value, index) => value * (weights[Math.floor(index / FEATURES)] ?? 0))
  const sums = blur(weighted, analysis, 2, 3)
  return blur(weights, analysis, 2, 3).map((total, pixel) => {
    let squares = 0
    for (let index = FEATURES * pixel; index < FEATURES * (pixel + 1); index++) {
      squares += ((features[index] ?? 0) - (sums[index] ?? 0) / total) ** 2
    }
    return squares
  })
}
