import { FEATURES } from './features.js'

/** Returns the negative log density of a pixel's appearance. */
export type Surprise = (pixel: number) => number

/** Features of each pixel: L, a, b and texture. */
const EQUAL_WEIGHTS = new Float64Array(FEATURES).fill(1)
const CLUSTERS = 6
const ROUNDS = 4
const SAMPLES = 1200
/** Keeps a cluster from collapsing onto one exact colour. */
const MIN_VARIANCE = 9
const FIRST_VARIANCE = 100

/** A Gaussian with one mean and variance for each feature. */
interface Cluster {
  share: number
  means: Float64Array
  variances: Float64Array
}

/**
 * Learns the appearance of the pixels with 1 in `chosen`, as a mixture of Gaussians (k-means from
 * evenly spread starts). `features` has `FEATURES` values for each pixel. Deterministic.
 */
export function learnColours(features: Float32Array, chosen: Uint8Array): Surprise {
  const pixels = sample(chosen)
  if (pixels.length === 0) return () => 0
  let clusters = firstClusters(features, pixels)
  for (let round = 0; round < ROUNDS; round++) clusters = improve(features, pixels, clusters)
  const models = clusters.map(({ share, means, variances }) => {
    const base = variances.reduce((sum, variance) => sum + 0.5 * Math.log(variance), -Math.log(share))
    return { base, means, weights: variances.map(variance => 0.5 / variance) }
  })
  return pixel => {
    let least = Number.POSITIVE_INFINITY
    for (const { base, means, weights } of models) {
      const surprise = base + squaredOffset(features, pixel, means, weights)
      if (surprise < least) least = surprise
    }
    return least
  }
}

/** Returns about `SAMPLES` evenly spread pixels of those chosen. */
function sample(chosen: Uint8Array): number[] {
  let count = 0
  for (const value of chosen) count += value
  const every = Math.max(1, Math.floor(count / SAMPLES))
  const pixels: number[] = []
  let seen = 0
  for (let pixel = 0; pixel < chosen.length; pixel++) if (chosen[pixel] && seen++ % every === 0) pixels.push(pixel)
  return pixels
}

/** Begins at pixels in even steps of the first feature. */
function firstClusters(features: Float32Array, pixels: readonly number[]): Cluster[] {
  const ordered = pixels.toSorted((p, q) => (features[FEATURES * p] ?? 0) - (features[FEATURES * q] ?? 0) || p - q)
  return Array.from({ length: CLUSTERS }, (_, cluster) => {
    const pixel = ordered[Math.floor(((cluster + 0.5) / CLUSTERS) * ordered.length)] ?? 0
    const means = new Float64Array(features.subarray(FEATURES * pixel, FEATURES * (pixel + 1)))
    return { share: 1 / CLUSTERS, means, variances: means.map(() => FIRST_VARIANCE) }
  })
}

function improve(features: Float32Array, pixels: readonly number[], clusters: Cluster[]): Cluster[] {
  const groups: number[][] = clusters.map(() => [])
  for (const pixel of pixels) groups[nearest(features, pixel, clusters)]?.push(pixel)
  return groups.map(group => {
    const mean = (value: (pixel: number) => number) =>
      group.reduce((sum, pixel) => sum + value(pixel), 0) / Math.max(1, group.length)
    const means = EQUAL_WEIGHTS.map((_, index) => mean(pixel => features[FEATURES * pixel + index] ?? 0))
    const variances = means.map((own, index) =>
      Math.max(
        MIN_VARIANCE,
        mean(pixel => ((features[FEATURES * pixel + index] ?? 0) - own) ** 2),
      ),
    )
    return { share: group.length / pixels.length, means, variances }
  })
}

/** Returns the cluster with the nearest mean. Empty clusters are ignored. */
function nearest(features: Float32Array, pixel: number, clusters: Cluster[]): number {
  let best = 0
  let least = Number.POSITIVE_INFINITY
  clusters.forEach(({ share, means }, index) => {
    const distance = share === 0 ? least : squaredOffset(features, pixel, means, EQUAL_WEIGHTS)
    if (distance >= least) return
    best = index
    least = distance
  })
  return best
}

/** Returns the squared distance from the means, with a weight for each feature. */
function squaredOffset(features: Float32Array, pixel: number, means: Float64Array, weights: Float64Array): number {
  let sum = 0
  for (let index = 0; index < FEATURES; index++) {
    const offset = (features[FEATURES * pixel + index] ?? 0) - (means[index] ?? 0)
    sum += offset * offset * (weights[index] ?? 0)
  }
  return sum
}
