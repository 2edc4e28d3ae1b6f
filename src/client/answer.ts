import type { MaskFacts, Outline, OutlineFeature, Rle } from './api.js'

/**
 * Size of the photo in the frame of points and masks, and the EXIF orientation that leads to it.
 */
export interface Frame {
  width: number
  height: number
  orientation: number
}

/** A response of `POST /segment` or `GET /results/{id}`. */
export interface SegmentAnswer {
  /** The result image, JSON with `output` rle, polygon and geojson, or text with `yolo`. */
  bytes: Uint8Array<ArrayBuffer>
  contentType: string
  resultId: string
  /** Id of the image, which can replace its bytes in later requests. */
  imageId: string | undefined
  cache: 'hit' | 'miss' | 'coalesced' | 'stale' | 'bypass'
  /**
   * Credits charged for this request, also if its result was polled. 0 for a result fetched by its
   * id.
   */
  cost: number
  /** Cost of the purchase, for a result fetched by the team that bought it. */
  purchaseCost: number | undefined
  /** Credits the key can still spend, if known. */
  remainingCredits: number | undefined
  requestId: string
  etag: string | undefined
  /** Fields of the request that had no effect. */
  ignoredFields: string[]
  /** Milliseconds by step: upload, cache, queue, upstream. */
  timing: Record<string, number>
  /** The sandbox produced the result. */
  isSandbox: boolean
  /** Frame of the photo in which the result is. Unknown for old results. */
  frame: Frame | undefined
  /** Bounding box and area of the selection. Present with every `output` but overlay. */
  mask: MaskFacts | undefined
  /** The image's bytes were sent for this request. */
  isUploaded: boolean
  blob(): Blob
  /**
   * Parses the body of `output` rle, polygon (`json<Outline>()`) or geojson
   * (`json<OutlineFeature>()`). Throws `SyntaxError` for any other.
   */
  json<T extends Rle | Outline | OutlineFeature = Rle>(): T
  /** Decodes the body of `output: 'yolo'`. */
  text(): string
}

/** Reads a response with a result. Rejects if the connection is lost. */
export async function readAnswer(response: Response, isUploaded: boolean): Promise<SegmentAnswer> {
  const { headers } = response
  const bytes = new Uint8Array(await response.arrayBuffer())
  const text = () => new TextDecoder().decode(bytes)
  const contentType = (headers.get('content-type') ?? '').split(';', 1)[0] ?? ''
  return {
    bytes,
    contentType,
    isUploaded,
    resultId: headers.get('x-result-id') ?? '',
    imageId: headers.get('x-image-id') ?? undefined,
    cache: (headers.get('x-cache') ?? 'hit').toLowerCase() as SegmentAnswer['cache'],
    cost: Number(headers.get('x-cost') ?? 0),
    purchaseCost: parseNumber(headers.get('x-purchase-cost')),
    remainingCredits: parseNumber(headers.get('x-remaining-credits')),
    requestId: headers.get('x-request-id') ?? '',
    etag: headers.get('etag') ?? undefined,
    ignoredFields: (headers.get('x-ignored-fields') ?? '').split(', ').filter(name => name !== ''),
    timing: parseTiming(headers.get('server-timing') ?? ''),
    isSandbox: headers.get('x-sandbox') === 'true',
    frame: toFrame(...FRAME_HEADERS.map(name => parseNumber(headers.get(name)))),
    mask: parseMask(headers),
    blob: () => new Blob([bytes], { type: contentType }),
    json: <T>() => JSON.parse(text()) as T,
    text,
  }
}

const FRAME_HEADERS = ['x-image-width', 'x-image-height', 'x-image-orientation']

/** Builds a frame of its numbers, if they are known. */
export function toFrame(width?: number, height?: number, orientation?: number): Frame | undefined {
  if (width === undefined || height === undefined || orientation === undefined) return undefined
  return { width, height, orientation }
}

function parseNumber(header: string | null): number | undefined {
  return header === null ? undefined : Number(header)
}

function parseTiming(header: string): Record<string, number> {
  const steps = header.split(/,\s*/).map(step => /^([\w-]+);dur=([\d.]+)$/.exec(step))
  return Object.fromEntries(steps.flatMap(step => (step ? [[step[1] ?? '', Number(step[2])]] : [])))
}

function parseMask(headers: Headers): MaskFacts | undefined {
  const [x, y, width, height] = (headers.get('x-mask-bbox') ?? '').split(',').map(Number)
  if (x === undefined || y === undefined || width === undefined || height === undefined) return undefined
  return { bbox: [x, y, width, height], area: Number(headers.get('x-mask-area')) }
}
