import type { Features } from './colour-model.js'
import { blur, gradient, type LabPicture, soften, toLab } from './lab.js'
import { type Measures, measurer } from './measures.js'
import { type PatchGraph, toPatches } from './patches.js'
import { JOIN_COSTS, type Proposal, proposalsOf } from './region-tree.js'
import { cutIntoRegions, type Regions } from './regions.js'

/** A set of patches, measured. */
export interface Candidate extends Proposal {
  measures: Measures
}

/** A photo made small, and everything that is learnt about it before anybody says what to select. */
export interface WorkPicture {
  width: number
  height: number
  rgb: Uint8Array
  lab: LabPicture
  /** L, a, b and texture. */
  features: Features
  regions: Regions
  graph: PatchGraph
  candidates: Candidate[]
  /** How much of the picture's middle each patch holds; all together 1. */
  middle: Float32Array
  /** Texture of each patch, added up over its pixels. */
  busyness: Float32Array
  measure: (proposal: Proposal) => Measures
}

/** Looks at a small sRGB picture: patches, what may be a thing, and how much each looks like one. */
export function study(rgb: Uint8Array, width: number, height: number): WorkPicture {
  const raw = toLab(rgb, width, height)
  const lab = soften(raw, 1)
  const steps = gradient(lab)
  const regions = cutIntoRegions(lab, { grain: 40, minPixels: Math.max(1, Math.round((width * height) / 3400)) })
  const graph = toPatches(lab, steps, regions)
  const measure = measurer(graph)
  const candidates = JOIN_COSTS.flatMap((cost, tree) =>
    proposalsOf(graph, cost).slice(tree === 0 ? 0 : graph.patches.length),
  ).map(proposal => ({ patch: proposal.patch, members: proposal.members, measures: measure(proposal) }))
  const features = [lab.lightness, lab.greenRed, lab.blueYellow, texture(raw)]
  const middle = middleOf(regions, width, height)
  const busyness = addUp(regions, features[3] ?? new Float32Array())
  return { width, height, rgb, lab, features, regions, graph, candidates, middle, busyness, measure }
}

/** How busy the surroundings of each pixel are: what tells something in focus from a blurred background. */
function texture(lab: LabPicture): Float32Array {
  return blur(gradient(lab), lab, 8).map(step => 9 * Math.log2(1 + step))
}

function middleOf(regions: Regions, width: number, height: number): Float32Array {
  const weight = new Float32Array(width * height).map((_, pixel) => {
    const x = ((pixel % width) + 0.5) / width - 0.5
    const y = (Math.floor(pixel / width) + 0.5) / height - 0.5
    return Math.exp(-(x * x + y * y) / (2 * 0.2 * 0.2))
  })
  const total = weight.reduce((sum, value) => sum + value, 0)
  return addUp(regions, weight).map(value => value / total)
}

/** Adds up what is known of each pixel, patch by patch. */
export function addUp(regions: Regions, values: Float32Array): Float32Array {
  const sums = new Float32Array(regions.count)
  regions.of.forEach((region, pixel) => {
    sums[region] = (sums[region] ?? 0) + (values[pixel] ?? 0)
  })
  return sums
}
