import type { MaskFacts } from '../contracts/types.js'
import type { Outline, OutlinePolygon, Ring } from './outline.js'
import { createSlices } from './work-slices.js'

/** Writing a character takes as long as so many pixels. */
const CHARACTER_PIXELS = 6
/** Corners written at once. */
const PIECE_CORNERS = 1_000
/** The one class of a mask. */
const YOLO_CLASS = 0
/** Exact to a hundredth of a pixel in pictures of up to 10,000 pixels. */
const YOLO_DIGITS = 6

interface Writer {
  contentType: string
  /** Writes the text in pieces. */
  write(outline: Outline): Iterable<string>
}

/** The forms of an outline, by their `output` (docs/reference.md, POST /segment). */
const FORMS = {
  polygon: { contentType: 'application/json; charset=utf-8', write: writePolygons },
  geojson: { contentType: 'application/geo+json', write: writeFeature },
  yolo: { contentType: 'text/plain; charset=utf-8', write: writeYolo },
} satisfies Record<string, Writer>

export type OutlineForm = keyof typeof FORMS

export const OUTLINE_FORMS = Object.keys(FORMS) as OutlineForm[]

/** Writes an outline in one of its forms. */
export async function writeOutline(
  outline: Outline,
  form: OutlineForm,
): Promise<{ body: Buffer; contentType: string; mask: MaskFacts }> {
  const { contentType, write } = FORMS[form]
  const slices = createSlices()
  const parts: Buffer[] = []
  let text = ''
  for (const piece of write(outline)) {
    text += piece
    const pause = slices.pause(CHARACTER_PIXELS * piece.length)
    if (!pause) continue
    parts.push(Buffer.from(text))
    text = ''
    await pause
  }
  const { bbox, area } = outline
  return { body: Buffer.concat([...parts, Buffer.from(text)]), contentType, mask: { bbox, area } }
}

function* writePolygons(outline: Outline): Iterable<string> {
  yield `{${sizeText(outline)},${factsText(outline)},"polygons":[`
  for (const [at, polygon] of outline.polygons.entries()) {
    yield `${at > 0 ? ',' : ''}{"exterior":`
    yield* writeRing(polygon.exterior)
    yield ',"holes":['
    for (const [hole, ring] of polygon.holes.entries()) {
      if (hole > 0) yield ','
      yield* writeRing(ring)
    }
    yield `],${factsText(polygon)}}`
  }
  yield ']}'
}

/**
 * Writes a Feature (RFC 7946 §3.2) in pixels. Its properties have the facts of the polygons, in
 * order.
 */
function* writeFeature(outline: Outline): Iterable<string> {
  yield '{"type":"Feature","geometry":{"type":"MultiPolygon","coordinates":['
  for (const [at, { exterior, holes }] of outline.polygons.entries()) {
    yield at > 0 ? ',[' : '['
    for (const [hole, ring] of [exterior, ...holes].entries()) {
      if (hole > 0) yield ','
      yield* writeRing(ring, `,[${ring[0]},${ring[1]}]`)
    }
    yield ']'
  }
  yield `]},"properties":{${sizeText(outline)},${factsText(outline)},"polygons":[`
  for (const [at, polygon] of outline.polygons.entries()) yield `${at > 0 ? ',' : ''}{${factsText(polygon)}}`
  yield ']}}'
}

/** Writes a line for each exterior: the class, then corners as shares of width and height. */
function* writeYolo({ width, height, polygons }: Outline): Iterable<string> {
  for (const { exterior } of polygons) {
    yield String(YOLO_CLASS)
    yield* writeCorners(exterior, (x, y) => ` ${share(x, width)} ${share(y, height)}`)
    yield '\n'
  }
}

function sizeText({ width, height }: Outline): string {
  return `"width":${width},"height":${height}`
}

function factsText({ bbox, area }: Outline | OutlinePolygon): string {
  return `"bbox":[${bbox.join()}],"area":${area}`
}

/** Writes a ring as a list, with `end` after its last corner. */
function* writeRing(ring: Ring, end = ''): Iterable<string> {
  yield '['
  yield* writeCorners(ring, (x, y, at) => `${at > 0 ? ',' : ''}[${x},${y}]`)
  yield `${end}]`
}

function* writeCorners(ring: Ring, write: (x: number, y: number, at: number) => string): Iterable<string> {
  for (let start = 0; start < ring.length; start += 2 * PIECE_CORNERS) {
    const end = Math.min(ring.length, start + 2 * PIECE_CORNERS)
    let text = ''
    for (let at = start; at < end; at += 2) text += write(ring[at] as number, ring[at + 1] as number, at)
    yield text
  }
}

function share(part: number, whole: number): number {
  return Number((part / whole).toFixed(YOLO_DIGITS))
}
