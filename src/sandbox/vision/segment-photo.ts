import type { Point } from '../../segment/types.js'
import { drawOverlay } from './draw.js'
import { enlarge, type Picture } from './enlarge.js'
import { decode, encode, type Refusal } from './photo.js'
import { refine } from './refine.js'
import { pixelAt, selectAtPoints, takeAway } from './select-at-points.js'
import { selectByPrompt } from './select-by-prompt.js'
import { tidy } from './tidy.js'
import { study, type WorkPicture } from './work-picture.js'

/** What to select in which photo. With a prompt, `points` mean nothing. */
export interface Question {
  image: Uint8Array
  prompt?: string
  points: readonly Point[]
  removed: readonly Point[]
  overlay: boolean
}

/** A JPEG as large as the photo. */
export interface Answer {
  jpeg: Uint8Array
  width: number
  height: number
}

/** How far the rough outline may be off, as a share of the small picture's longer side. */
const REACH = 0.013
/** Radius around a kept or removed point that surely belongs to it, in pixels of the small picture. */
const MARK_RADIUS = 2

/**
 * The whole story: decode, make small, find the thing on the small picture, take the removed parts away, move the outline to the
 * edges, bring the mask back to full size, draw. Deterministic.
 */
export async function segmentPhoto(question: Question): Promise<Answer | Refusal> {
  const photo = await decode(question.image)
  if ('refused' in photo) return photo
  const { full, small } = photo
  const stray = strayPoint(full, question)
  if (stray) return { refused: `[${stray.join(',')}] lies outside the image of ${full.width} x ${full.height}` }
  const { points, removed } = marksOn(small, full, question)
  const picture = study(small.rgb, small.width, small.height)
  const inside = selectionOf(picture, { ...question, points, removed })
  const coverage = enlarge({ ...small, inside }, small, full)
  mark(coverage, full, { points: question.prompt === undefined ? question.points : [], value: 255 })
  mark(coverage, full, { points: question.removed, value: 0 })
  const { width, height } = full
  if (question.overlay) {
    drawOverlay(full, coverage)
    return { jpeg: await encode(full.rgb, { width, height, channels: 3 }), width, height }
  }
  return { jpeg: await encode(coverage, { width, height, channels: 1 }), width, height }
}

type Selection = Pick<Question, 'prompt' | 'points' | 'removed'>

function selectionOf(picture: WorkPicture, { prompt, points, removed }: Selection): Uint8Array {
  const rough = prompt === undefined ? selectAtPoints(picture, points) : selectByPrompt(picture, prompt)
  takeAway(picture, rough, { removed, kept: points })
  const known = marked(picture, { points, removed })
  const reach = Math.max(1, Math.round(REACH * Math.max(picture.width, picture.height)))
  const inside = refine(picture, rough, known, reach)
  const keep = new Set([...points, ...removed].map(point => pixelAt(picture, point)))
  tidy({ width: picture.width, height: picture.height, inside }, keep)
  return inside
}

/** A point that lies outside the photo in either orientation (EXIF may have turned it). */
function strayPoint(photo: Picture, { points, removed }: Selection): Point | undefined {
  const longest = Math.max(photo.width, photo.height)
  const shortest = Math.min(photo.width, photo.height)
  return [...points, ...removed].find(([x, y]) => Math.max(x, y) > longest || Math.min(x, y) > shortest)
}

/** Brings the points that count to the small picture. */
function marksOn(small: Picture, full: Picture, { prompt, points, removed }: Selection) {
  const bring = ([x, y]: Point): Point => [(x * small.width) / full.width, (y * small.height) / full.height]
  return { points: prompt === undefined ? points.map(bring) : [], removed: removed.map(bring) }
}

function marked(picture: WorkPicture, marks: { points: readonly Point[]; removed: readonly Point[] }): Int8Array {
  const known = new Int8Array(picture.width * picture.height)
  const disc = (points: readonly Point[], value: number) => {
    for (const point of points) {
      for (const pixel of discAt(picture, point, MARK_RADIUS)) known[pixel] = value
    }
  }
  disc(marks.points, 1)
  disc(marks.removed, -1)
  return known
}

/** Holds the promise to the caller at full size: a kept point is selected, a removed one is not. */
function mark(coverage: Uint8Array, photo: Picture, marks: { points: readonly Point[]; value: 0 | 255 }): void {
  const radius = Math.max(1, Math.max(photo.width, photo.height) / 200)
  for (const point of marks.points) {
    if (Math.abs((coverage[pixelAt(photo, point)] ?? 0) - marks.value) < 64) continue
    for (const pixel of discAt(photo, point, radius)) coverage[pixel] = marks.value
  }
}

function* discAt(
  { width, height }: { width: number; height: number },
  point: Point,
  radius: number,
): Generator<number> {
  const centre = pixelAt({ width, height }, point)
  const [middleX, middleY] = [centre % width, Math.floor(centre / width)]
  const reach = Math.ceil(radius)
  for (let y = Math.max(0, middleY - reach); y <= Math.min(height - 1, middleY + reach); y++) {
    for (let x = Math.max(0, middleX - reach); x <= Math.min(width - 1, middleX + reach); x++) {
      if (Math.hypot(x - middleX, y - middleY) <= radius) yield y * width + x
    }
  }
}
