import type { MaskFacts, Rle } from './api.js'

/** An answer of `POST /segment` or `GET /results/{id}`. */
export interface SegmentAnswer {
  /** The picture, or the JSON of `output: 'rle'`. */
  bytes: Uint8Array<ArrayBuffer>
  contentType: string
  resultId: string
  /** Names the image from now on, instead of its bytes. */
  imageId: string | undefined
  cache: 'hit' | 'miss' | 'coalesced' | 'stale' | 'bypass'
  /** Credits charged for this very request; 0 for a result that was fetched by its id. */
  cost: number
  /** Credits the key may still spend, where that is known. */
  remainingCredits: number | undefined
  requestId: string
  etag: string | undefined
  /** Fields that meant nothing. */
  ignoredFields: string[]
  /** Milliseconds by step: upload, cache, queue, upstream. */
  timing: Record<string, number>
  /** Answered to a test key. */
  isSandbox: boolean
  /** Where the selection is, with `output` mask, cutout and rle. */
  mask: MaskFacts | undefined
  /** Whether the image's bytes were sent for it. */
  isUploaded: boolean
  blob(): Blob
  /** The parsed body of `output: 'rle'`. Throws `SyntaxError` for a picture. */
  json(): Rle
}

/** Reads an answer whole. Rejects when it breaks off. */
export async function readAnswer(response: Response, isUploaded: boolean): Promise<SegmentAnswer> {
  const { headers } = response
  const bytes = new Uint8Array(await response.arrayBuffer())
  const contentType = (headers.get('content-type') ?? '').split(';', 1)[0] ?? ''
  const remaining = headers.get('x-remaining-credits')
  return {
    ...{ bytes, contentType, isUploaded },
    resultId: headers.get('x-result-id') ?? '',
    imageId: headers.get('x-image-id') ?? undefined,
    cache: (headers.get('x-cache') ?? 'hit').toLowerCase() as SegmentAnswer['cache'],
    cost: Number(headers.get('x-cost') ?? 0),
    remainingCredits: remaining === null ? undefined : Number(remaining),
    requestId: headers.get('x-request-id') ?? '',
    etag: headers.get('etag') ?? undefined,
    ignoredFields: (headers.get('x-ignored-fields') ?? '').split(', ').filter(name => name !== ''),
    timing: timingIn(headers.get('server-timing') ?? ''),
    isSandbox: headers.get('x-sandbox') === 'true',
    mask: maskIn(headers),
    blob: () => new Blob([bytes], { type: contentType }),
    json: () => JSON.parse(new TextDecoder().decode(bytes)) as Rle,
  }
}

function timingIn(header: string): Record<string, number> {
  const steps = header.split(/,\s*/).map(step => /^([\w-]+);dur=([\d.]+)$/.exec(step))
  return Object.fromEntries(steps.flatMap(found => (found ? [[found[1] ?? '', Number(found[2])]] : [])))
}

function maskIn(headers: Headers): MaskFacts | undefined {
  const [x, y, width, height] = (headers.get('x-mask-bbox') ?? '').split(',').map(Number)
  if (x === undefined || y === undefined || width === undefined || height === undefined) return undefined
  return { bbox: [x, y, width, height], area: Number(headers.get('x-mask-area')) }
}
