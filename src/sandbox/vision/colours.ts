import { FEATURES } from './features.js'

/** Variance of each feature inside a patch. */
const VARIANCE = 80
const MAX_EVIDENCE = 30

/**
 * Returns the log ratio of the densities inside and outside, for the appearance at an index of
 * `values`. It is positive for the inside. `exceptPatch` is left out of the model.
 */
export type Evidence = (values: Float32Array, index: number, exceptPatch?: number) => number

/**
 * Learns the colours and textures of both sides, as a mixture of Gaussians with one for each patch.
 * `means` has `FEATURES` values for each patch, `inside` and `outside` its pixels on each side.
 */
export function learnColours(means: Float32Array, inside: Float32Array, outside: Float32Array): Evidence {
  const [inner, outer] = [inside, outside].map(counts => {
    const total = counts.reduce((sum, count) => sum + count, 0)
    return counts.map(count => -2 * VARIANCE * Math.log(count / total))
  })
  return (values, index, exceptPatch) => {
    const distance = (base = new Float32Array()) => {
      let least = 2 * VARIANCE * MAX_EVIDENCE
      for (let patch = 0; patch < base.length; patch++) {
        let sum = base[patch] ?? 0
        if (sum >= least || patch === exceptPatch) continue
        for (let feature = 0; feature < FEATURES; feature++) {
          const offset = (values[FEATURES * index + feature] ?? 0) - (means[FEATURES * patch + feature] ?? 0)
          sum += offset * offset
        }
        if (sum < least) least = sum
      }
      return least
    }
    return (distance(outer) - distance(inner)) / (2 * VARIANCE)
  }
}
