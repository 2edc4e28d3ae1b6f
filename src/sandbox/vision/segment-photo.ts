import type { Point } from '../../contracts/types.js'
import { type Analysis, analyse } from './analysis.js'
import type { Size } from './features.js'
import { drawOverlay, enlarge } from './output.js'
import { decode, encode, type Picture, type Refusal } from './photo.js'
import { refine } from './refine.js'
import { pixelAt, removeAtPoints, selectAtPoints } from './select-at-points.js'
import { selectByPrompt } from './select-by-prompt.js'
import { removeSpecks } from './specks.js'

/** A photo and a selection. With a prompt, `points` are ignored. */
export interface Question {
  image: Uint8Array
  prompt?: string
  points: readonly Point[]
  removed: readonly Point[]
  overlay: boolean
}

/** A JPEG of the photo's size. */
export interface SegmentedPhoto {
  jpeg: Uint8Array
  width: number
  height: number
}

/** Largest correction of the outline, as a share of the small picture's longer side. */
const REACH = 0.013
/** Radius around a point that belongs to it, in pixels of the small picture. */
const POINT_RADIUS = 2

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
  const inside = select(analyse(small, lab), {
    ...question,
    points: points.map(reduce),
    removed: question.removed.map(reduce),
  })
  const coverage = enlarge(inside, small, full)
  setPoints(coverage, full, points, 255)
  setPoints(coverage, full, question.removed, 0)
  const { width, height } = full
  if (!question.overlay) return { jpeg: await encode(coverage, full, 1), width, height }
  drawOverlay(full, coverage)
  return { jpeg: await encode(full.rgb, full, 3), width, height }
}

function select(analysis: Analysis, { prompt, points, removed }: Omit<Question, 'image'>): Uint8Array {
  const rough = prompt === undefined ? selectAtPoints(analysis, points) : selectByPrompt(analysis, prompt)
  removeAtPoints(analysis, rough, { removed, kept: points })
  const known = new Int8Array(rough.length)
  for (const point of points) for (const pixel of discAt(analysis, point, POINT_RADIUS)) known[pixel] = 1
  for (const point of removed) for (const pixel of discAt(analysis, point, POINT_RADIUS)) known[pixel] = -1
  const reach = Math.max(1, Math.round(REACH * Math.max(analysis.width, analysis.height)))
  const inside = refine(analysis, rough, known, reach)
  removeSpecks(inside, analysis.width, new Set([...points, ...removed].map(point => pixelAt(analysis, point))))
  return inside
}

/** Returns whether a point is outside the photo in both orientations. EXIF may have turned it. */
function isOutside({ width, height }: Size, [x, y]: Point): boolean {
  return Math.max(x, y) > Math.max(width, height) || Math.min(x, y) > Math.min(width, height)
}

/** Sets the coverage around each point whose pixel differs from `value`. */
function setPoints(coverage: Uint8Array, full: Picture, points: readonly Point[], value: 0 | 255): void {
  const radius = Math.max(1, Math.max(full.width, full.height) / 200)
  for (const point of points) {
    if (Math.abs((coverage[pixelAt(full, point)] ?? 0) - value) < 64) continue
    for (const pixel of discAt(full, point, radius)) coverage[pixel] = value
  }
}

function discAt({ width, height }: Size, point: Point, radius: number): number[] {
  const centre = pixelAt({ width, height }, point)
  const [centreX, centreY] = [centre % width, Math.floor(centre / width)]
  const pixels: number[] = []
  for (let y = Math.max(0, Math.ceil(centreY - radius)); y <= Math.min(height - 1, centreY + radius); y++)
    for (let x = Math.max(0, Math.ceil(centreX - radius)); x <= Math.min(width - 1, centreX + radius); x++)
      if (Math.hypot(x - centreX, y - centreY) <= radius) pixels.push(y * width + x)
  return pixels
}
