import { learnColours } from './colours.js'
import { divide, type Link } from './divide.js'
import { blur, forEachPair, squaredDistance } from './features.js'
import type { Analysis } from './objects.js'
import { sumByRegion } from './regions.js'

/** Weight of the outline compared to the colours. */
const SMOOTHNESS = 40
/** Squared colour step at which the outline costs about 0.6 of its weight. */
const STEP = 30
/** Evidence that holds a pixel on its side. */
const CERTAIN = 1e6
/** Largest correction of the outline, as a share of the picture's longer side. */
const REACH = 0.013

/**
 * Moves the outline of a rough mask to the nearest change of colour. Learns the colours of both
 * sides, as GrabCut does (Rother, Kolmogorov and Blake, 2004).
 */
export function refine(analysis: Analysis, rough: Uint8Array): Uint8Array {
  const { features, regions, means } = analysis
  const mask = Float32Array.from(rough)
  const reach = Math.max(1, Math.round(REACH * Math.max(analysis.width, analysis.height)))
  const near = blur(mask, analysis, reach)
  const far = blur(mask, analysis, 2, Math.ceil(2.5 * reach))
  const around = far.map((value, pixel) => (value > 0 && rough[pixel] === 0 ? 1 : 0))
  const evidenceOf = learnColours(means, sumByRegion(regions, rough), sumByRegion(regions, around))
  const evidence = near.map((value, pixel) => {
    if (value === 0 || value === 1) return value === 0 ? -CERTAIN : CERTAIN
    return evidenceOf(features, pixel)
  })
  const links: Link[] = []
  forEachPair(analysis, (a, b, distance) => {
    if (Math.abs(evidence[a] ?? 0) === CERTAIN && Math.abs(evidence[b] ?? 0) === CERTAIN) return
    const weight = (SMOOTHNESS / distance) * Math.exp(-squaredDistance(features, a, b) / (2 * STEP))
    links.push({ a, b, weight })
  })
  return divide(evidence, links)
}
