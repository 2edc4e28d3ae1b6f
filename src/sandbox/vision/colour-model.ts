/** What a pixel looks like: several planes of equal length, such as L, a, b and texture. */
export type Features = readonly Float32Array[]

/** How likely a look is: the lower, the likelier (a negative log density). */
export type Surprise = (pixel: number) => number

const CLUSTERS = 6
const ROUNDS = 4
const SAMPLES = 1200
/** Keeps a cluster from collapsing onto one exact colour. */
const LEAST_VARIANCE = 9
const FIRST_VARIANCE = 100

/** Clusters of looks, flat: cluster by cluster, plane by plane. */
interface Mixture {
  share: Float64Array
  mean: Float64Array
  variance: Float64Array
}

/**
 * Learns what the chosen pixels (1 in `chosen`) look like as a mixture of Gaussians (diagonal, by k-means from evenly spread starts).
 * Deterministic. With no pixel chosen every look is equally surprising.
 */
export function learnLook(features: Features, chosen: Uint8Array): Surprise {
  const pixels = sample(chosen)
  if (pixels.length === 0) return () => 0
  let mixture = firstMixture(features, pixels)
  for (let round = 0; round < ROUNDS; round++) mixture = improve(features, pixels, mixture)
  return surpriseBy(features, mixture)
}

function surpriseBy(features: Features, { share, mean, variance }: Mixture): Surprise {
  const planes = features.length
  const precision = variance.map(value => 0.5 / value)
  const base = share.map((own, cluster) => {
    const spreads = variance.subarray(cluster * planes, (cluster + 1) * planes)
    return -Math.log(own) + 0.5 * spreads.reduce((sum, value) => sum + Math.log(value), 0)
  })
  return pixel => {
    let least = Number.POSITIVE_INFINITY
    for (let cluster = 0; cluster < CLUSTERS; cluster++) {
      let surprise = base[cluster] ?? 0
      for (let plane = 0; plane < planes; plane++) {
        const at = cluster * planes + plane
        const off = (features[plane]?.[pixel] ?? 0) - (mean[at] ?? 0)
        surprise += off * off * (precision[at] ?? 0)
      }
      if (surprise < least) least = surprise
    }
    return least
  }
}

/** Evenly spread pixels of those chosen, not many more than `SAMPLES`. */
function sample(chosen: Uint8Array): Int32Array {
  let count = 0
  for (let pixel = 0; pixel < chosen.length; pixel++) count += chosen[pixel] ?? 0
  const every = Math.max(1, Math.floor(count / SAMPLES))
  const pixels = new Int32Array(Math.ceil(count / every))
  let seen = 0
  for (let pixel = 0; pixel < chosen.length; pixel++) {
    if (chosen[pixel] && seen++ % every === 0) pixels[(seen - 1) / every] = pixel
  }
  return pixels
}

/** Starts from the pixels at even steps of lightness. */
function firstMixture(features: Features, pixels: Int32Array): Mixture {
  const lightness = features[0] ?? new Float32Array()
  const ordered = pixels.slice().sort((p, q) => (lightness[p] ?? 0) - (lightness[q] ?? 0) || p - q)
  const mean = Array.from({ length: CLUSTERS }, (_, cluster) => {
    const pixel = ordered[Math.floor(((cluster + 0.5) / CLUSTERS) * ordered.length)] ?? 0
    return features.map(plane => plane[pixel] ?? 0)
  })
  return {
    share: new Float64Array(CLUSTERS).fill(1 / CLUSTERS),
    mean: Float64Array.from(mean.flat()),
    variance: new Float64Array(CLUSTERS * features.length).fill(FIRST_VARIANCE),
  }
}

function improve(features: Features, pixels: Int32Array, before: Mixture): Mixture {
  const planes = features.length
  const share = new Float64Array(CLUSTERS)
  const mean = new Float64Array(CLUSTERS * planes)
  const variance = new Float64Array(CLUSTERS * planes)
  for (const pixel of pixels) {
    const cluster = nearest(features, pixel, before)
    share[cluster] = (share[cluster] ?? 0) + 1
    for (let plane = 0; plane < planes; plane++) {
      const value = features[plane]?.[pixel] ?? 0
      const at = cluster * planes + plane
      mean[at] = (mean[at] ?? 0) + value
      variance[at] = (variance[at] ?? 0) + value * value
    }
  }
  for (let at = 0; at < mean.length; at++) {
    const count = Math.max(1, share[Math.floor(at / planes)] ?? 0)
    mean[at] = (mean[at] ?? 0) / count
    variance[at] = Math.max(LEAST_VARIANCE, (variance[at] ?? 0) / count - (mean[at] ?? 0) ** 2)
  }
  return { share: share.map(count => count / pixels.length), mean, variance }
}

/** The cluster with the nearest mean; an empty one is never chosen again. */
function nearest(features: Features, pixel: number, { share, mean }: Mixture): number {
  let best = 0
  let least = Number.POSITIVE_INFINITY
  for (let cluster = 0; cluster < CLUSTERS; cluster++) {
    if (share[cluster] === 0) continue
    let distance = 0
    for (let plane = 0; plane < features.length; plane++) {
      const off = (features[plane]?.[pixel] ?? 0) - (mean[cluster * features.length + plane] ?? 0)
      distance += off * off
    }
    if (distance < least) {
      least = distance
      best = cluster
    }
  }
  return best
}
