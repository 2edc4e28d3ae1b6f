import type { Point } from '../../contracts/types.js'
import type { Size } from './features.js'
import { type Analysis, analyse } from './objects.js'
import { drawOverlay } from './output.js'
import { decode, encode, enlarge, type Refusal } from './photo.js'
import { refine } from './refine.js'
import { distance, pixelAt, removeAtPoints, selectAtPoints, selectByPrompt } from './select.js'
import { removeSpecks } from './specks.js'

/** With a prompt, `points` are ignored. */
interface Selection {
  prompt?: string | undefined
  points: readonly Point[]
  removed: readonly Point[]
}

export interface Question extends Selection {
  image: Uint8Array
  overlay: boolean
}

/** A JPEG of the photo's size. */
export interface SegmentedPhoto {
  jpeg: Uint8Array
  width: number
  height: number
}

/**
 * Segments a photo. Finds the object in a small picture of it, refines the outline, enlarges the
 * mask and draws it. Deterministic.
 */
export async function segmentPhoto(question: Question): Promise<SegmentedPhoto | Refusal> {
  const photo = await decode(question.image)
  if ('refused' in photo) return photo
  const { full, small, lab } = photo
  const points = question.prompt === undefined ? question.points : []
  const stray = [...question.points, ...question.removed].find(point => isOutside(full, point))
  if (stray) return { refused: `[${stray.join(',')}] lies outside the image of ${full.width} x ${full.height}` }
  const reduce = ([x, y]: Point): Point => [(x * small.width) / full.width, (y * small.height) / full.height]
  const reduced = { prompt: question.prompt, points: points.map(reduce), removed: question.removed.map(reduce) }
  const inside = select(analyse(small, lab), reduced)
  const coverage = await enlarge(inside, small, full)
  const { width, height } = full
  if (!question.overlay) return { jpeg: await encode(coverage, full, 1), width, height }
  drawOverlay(full, coverage)
  return { jpeg: await encode(full.rgb, full, 3), width, height }
}

function select(analysis: Analysis, { prompt, points, removed }: Selection): Uint8Array {
  const rough = prompt === undefined ? selectAtPoints(analysis, points) : selectByPrompt(analysis, prompt)
  removeAtPoints(analysis, rough, removed, points)
  const inside = refine(analysis, rough)
  const kept = [...points, ...removed].map(point => pixelAt(analysis, point))
  removeSpecks(inside, analysis, kept)
  setPoints(inside, analysis, points, 1)
  setPoints(inside, analysis, removed, 0)
  return inside
}

/** Returns whether a point is outside the photo in both orientations. EXIF may have turned it. */
function isOutside({ width, height }: Size, [x, y]: Point): boolean {
  return Math.max(x, y) > Math.max(width, height) || Math.min(x, y) > Math.min(width, height)
}

/** Sets the pixels around each point that has another value. */
function setPoints(mask: Uint8Array, size: Size, points: readonly Point[], value: 0 | 1): void {
  for (const point of points.filter(point => mask[pixelAt(size, point)] !== value)) {
    for (const pixel of mask.keys()) if (distance(size, pixel, point) < 2) mask[pixel] = value
  }
}
