import type { Point } from '../../contracts/types.js'
import type { Size } from './features.js'
import { type Analysis, analyse } from './objects.js'
import { drawOverlay, enlarge } from './output.js'
import { decode, encode, type Refusal } from './photo.js'
import { refine } from './refine.js'
import { pixelAt, removeAtPoints, selectAtPoints, selectByPrompt } from './select.js'
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
  const inside = refine(analysis, rough)
  removeSpecks(
    inside,
    analysis,
    [...points, ...removed].map(point => pixelAt(analysis, point)),
  )
  return inside
}

/** Returns whether a point is outside the photo in both orientations. EXIF may have turned it. */
function isOutside({ width, height }: Size, [x, y]: Point): boolean {
  return Math.max(x, y) > Math.max(width, height) || Math.min(x, y) > Math.min(width, height)
}

/** Sets the coverage in a disc around each point whose pixel differs from `value`. */
function setPoints(coverage: Uint8Array, full: Size, points: readonly Point[], value: 0 | 255): void {
  const radius = Math.max(1, Math.round(Math.max(full.width, full.height) / 200))
  for (const point of points) {
    const centre = pixelAt(full, point)
    if (Math.abs((coverage[centre] ?? 0) - value) < 64) continue
    for (let down = -radius; down <= radius; down++) {
      const across = Math.floor(Math.sqrt(radius ** 2 - down ** 2))
      const left = Math.max(-across, -(centre % full.width))
      const right = Math.min(across, full.width - 1 - (centre % full.width))
      const row = centre + down * full.width
      if (row >= 0 && row < coverage.length) coverage.fill(value, row + left, row + right + 1)
    }
  }
}
