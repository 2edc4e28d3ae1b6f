import { difference, type Patch, type PatchGraph } from './patches.js'
import type { Proposal } from './region-tree.js'

/** What makes a set of patches look like a thing. */
export interface Measures {
  /** Share of the picture, 0–1. */
  share: number
  /** How much of its outline lies on a visible colour step, 0–1. */
  edge: number
  /** Length of its outline against that of a disc of the same size, ≥ about 1. */
  ruggedness: number
  /** How different it looks from the patches around it. */
  contrast: number
  /** How much of its outline is the picture's own rim, 0–1. */
  rim: number
  /** Sides of the picture it covers for the most part, 0–4. */
  sidesCovered: number
  /** Share of its bounding box that it fills, 0–1. */
  fill: number
}

/** Measures proposals of one picture against what surrounds them. */
export function measurer(graph: PatchGraph): (proposal: Proposal) => Measures {
  const inside = new Uint8Array(graph.patches.length)
  const faint = typicalStrength(graph)
  const { width, height } = pictureSize(graph)
  return ({ patch, members }) => {
    for (const member of members) inside[member] = 1
    const outline = outlineOf(graph, { members, inside, faint })
    for (const member of members) inside[member] = 0
    const onRim = patch.sides[0] + patch.sides[1] + patch.sides[2] + patch.sides[3]
    const boxPixels = (patch.box.right - patch.box.left + 1) * (patch.box.bottom - patch.box.top + 1)
    return {
      share: patch.pixels / (width * height),
      edge: outline.length === 0 ? 0 : outline.visible / outline.length,
      ruggedness: (onRim + outline.length) / Math.sqrt(4 * Math.PI * patch.pixels),
      contrast: contrastWith(graph, patch, outline.neighbours),
      rim: onRim / Math.max(1, onRim + outline.length),
      sidesCovered: patch.sides.filter((pixels, side) => pixels > 0.6 * (side < 2 ? height : width)).length,
      fill: patch.pixels / boxPixels,
    }
  }
}

/** How much a set of patches looks like one thing of its own: about 0 for a good one, lower for worse. `usualShare` is the size that counts as usual. */
export function likeness(measures: Measures, usualShare = 0.14): number {
  const size = Math.log(Math.max(measures.share, 1e-4) / usualShare)
  return (
    0.6 * Math.log(measures.contrast + 0.05) +
    2.6 * Math.log(measures.edge + 0.02) -
    (size < 0 ? 0.12 : 0.2) * size * size -
    1.2 * measures.rim * measures.rim -
    6 * Math.max(0, measures.rim - 0.6) -
    0.25 * measures.sidesCovered -
    10 * Math.max(0, measures.share - 0.8) -
    0.5 * Math.log(measures.ruggedness) +
    0.5 * Math.log(measures.fill)
  )
}

interface Outline {
  length: number
  /** Length, each part weighted by how well it is seen. */
  visible: number
  neighbours: Set<number>
}

function outlineOf(graph: PatchGraph, set: { members: Int32Array; inside: Uint8Array; faint: number }): Outline {
  const outline: Outline = { length: 0, visible: 0, neighbours: new Set() }
  for (const member of set.members) {
    for (const [other, border] of graph.borders[member] ?? []) {
      if (set.inside[other]) continue
      const strength = border.strength / border.length
      outline.length += border.length
      outline.visible += (border.length * strength * strength) / (strength * strength + set.faint * set.faint)
      outline.neighbours.add(other)
    }
  }
  return outline
}

/** The middle one of the strengths of all lines between patches, by length: half seen in this picture. */
function typicalStrength(graph: PatchGraph): number {
  const lines = graph.borders.flatMap((borders, a) => [...borders].filter(([b]) => a < b).map(([, border]) => border))
  lines.sort((p, q) => p.strength / p.length - q.strength / q.length)
  const half = lines.reduce((sum, line) => sum + line.length, 0) * 0.5
  let passed = 0
  for (const line of lines) {
    passed += line.length
    if (passed >= half) return Math.min(Math.max(line.strength / line.length, 2), 12)
  }
  return 2
}

function contrastWith(graph: PatchGraph, patch: Patch, around: Set<number>): number {
  let pixels = 0
  const histogram = new Float32Array(patch.histogram.length)
  for (const index of around) {
    const neighbour = graph.patches[index]
    if (!neighbour) continue
    pixels += neighbour.pixels
    for (let bin = 0; bin < histogram.length; bin++) {
      histogram[bin] = (histogram[bin] ?? 0) + (neighbour.histogram[bin] ?? 0)
    }
  }
  return pixels === 0 ? 0 : difference(patch, { pixels, histogram })
}

function pictureSize(graph: PatchGraph): { width: number; height: number } {
  const right = Math.max(...graph.patches.map(patch => patch.box.right))
  const bottom = Math.max(...graph.patches.map(patch => patch.box.bottom))
  return { width: right + 1, height: bottom + 1 }
}
