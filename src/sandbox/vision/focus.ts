import { blur, gradient } from './features.js'
import type { Analysis } from './objects.js'
import { PIXELS } from './patches.js'
import { sumByRegion } from './regions.js'

/** Minimum texture of an object in focus, compared to the mean of the picture. */
const MIN_TEXTURE = 0.9
/** Share of the middle of the picture that an object in focus fills at least. */
const MIN_MIDDLE = 0.9

/**
 * Finds an object in focus in front of a blurred background, also one of many colours. Returns
 * the patches of strong texture, or none if they leave out much of the middle of the picture.
 */
export function objectInFocus(analysis: Analysis): number[] | undefined {
  const { lab, graph, regions, width, height } = analysis
  const texture = blur(gradient(lab, analysis), analysis, 2, 2).map(step => Math.log2(1 + step))
  const textures = sumByRegion(regions, blur(texture, analysis, 2, 11))
  const least = (MIN_TEXTURE * textures.reduce((sum, value) => sum + value, 0)) / texture.length
  const isSharp = graph.patches.map((patch, index) => (textures[index] ?? 0) > least * (patch[PIXELS] ?? 0))
  const middle = [...regions.of].filter((_, pixel) => {
    const [x, y] = [(pixel % width) / width, pixel / width / height]
    return Math.hypot(x - 0.5, y - 0.5) < 0.25
  })
  const filled = middle.filter(patch => isSharp[patch]).length
  return filled < MIN_MIDDLE * middle.length ? undefined : [...isSharp.keys()].filter(patch => isSharp[patch])
}
