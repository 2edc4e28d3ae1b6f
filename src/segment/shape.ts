import { createHash } from 'node:crypto'
import { defined } from '../contracts/defined.js'
import { GatewayError } from '../contracts/errors.js'
import { etagOf } from '../contracts/etag.js'
import type { CacheKey, MaskFacts, Result } from '../contracts/types.js'
import { joinChunks } from '../images/byte-collector.js'
import type { Output } from '../input/params.js'
import type { RequestedImage } from './keyed-request.js'
import type { Flights, Images, MaskForms, Results } from './ports.js'

/** A result in the requested output form. */
export interface Shaped {
  key: CacheKey
  result: Result
  /** Position and size of the selection; present for forms derived from a mask. */
  mask?: MaskFacts
}

/** The requested output form of a result. */
export interface OutputRequest {
  output: Output
  image: RequestedImage
  /** The team under `CACHE_SCOPE=team`, else empty. */
  scope: string
  team: string
  /** False under `no-store`: the form is not kept. */
  isKept: boolean
}

export interface ShapeParts {
  results: Results
  images: Images
  maskForms: MaskForms
  /** Conversions in progress. */
  shaping: Flights<Result, string>
}

/**
 * Converts a paid result into the requested output form at no cost, and keeps it under a key of its
 * own, so that one purchase serves every form. `overlay` and `mask` are Segmind's own pictures.
 * Throws `unknown_image` for a cutout of an image the gateway no longer holds, `upstream_failed`
 * when the mask is none, `overloaded`.
 */
export async function shape(paid: Shaped, request: OutputRequest, parts: ShapeParts): Promise<Shaped> {
  const { output } = request
  if (output === 'overlay') return paid
  const rle = findOrMake('rle', paid.result, request, parts, () => parts.maskForms.rle(paid.result.body))
  // A mask that cannot be measured is returned all the same.
  if (output === 'mask') return { ...paid, ...(await rle.then(factsOf, () => ({}))) }
  const measured = await rle
  if (output === 'rle') return { ...measured, ...factsOf(measured) }
  const cutout = await findOrMake('cutout', paid.result, request, parts, async () => {
    const body = await parts.maskForms.cutout(paid.result.body, () => bytesOf(request, parts))
    return { body, contentType: 'image/png', ...factsOf(measured) }
  })
  return { ...cutout, ...factsOf(measured) }
}

interface Derived {
  body: Buffer
  contentType: string
  mask?: MaskFacts
}

/**
 * Finds a derived form in the cache, or makes it. Concurrent requests for the same form share the
 * work.
 */
async function findOrMake(
  form: 'rle' | 'cutout',
  mask: Result,
  request: OutputRequest,
  parts: ShapeParts,
  make: () => Promise<Derived>,
): Promise<Shaped> {
  const key = keyOf(form, mask, request)
  const found = await parts.results.find(key, result => result.storedAt >= mask.storedAt)
  if (found.result && found.result.storedAt >= mask.storedAt) return { key, result: found.result }
  const { outcome } = parts.shaping.join(key, request.team, async () => {
    const { body, ...described } = await make()
    const etag = etagOf(body)
    const { storedAt, cost, boughtBy, scope } = mask
    const result: Result = {
      body,
      etag,
      storedAt,
      cost,
      image: request.image.digest,
      ...described,
      ...defined({ boughtBy, scope }),
    }
    if (request.isKept) await parts.results.keep(key, result)
    return result
  })
  return { key, result: await outcome }
}

/** Another version makes every kept form unreachable: `f1` cutouts carried the whole photo. */
const FORMS_VERSION = 'f2'

/** The key includes the mask's own digest, because a later purchase may return another mask. */
function keyOf(
  form: string,
  { etag }: Pick<Result, 'etag'>,
  { image, scope }: Pick<OutputRequest, 'image' | 'scope'>,
): CacheKey {
  return createHash('sha256')
    .update(JSON.stringify([FORMS_VERSION, form, scope, image.digest, etag]))
    .digest('hex')
}

/** Lists the cache keys of the forms derived from a result. */
export function derivedKeysOf({ etag, image, scope = '' }: Result): CacheKey[] {
  if (image === undefined) return []
  return ['rle', 'cutout'].map(form => keyOf(form, { etag }, { image: { digest: image }, scope }))
}

function factsOf({ result }: { result: { mask?: MaskFacts } }): { mask?: MaskFacts } {
  return result.mask ? { mask: result.mask } : {}
}

async function bytesOf({ image, scope }: OutputRequest, parts: ShapeParts): Promise<Buffer> {
  const bytes = image.uploaded ?? (await parts.images.find(scope, image.digest))
  if (bytes) return joinChunks(bytes.chunks)
  const detail = `A cutout needs the image sha256:${image.digest}, which the gateway no longer holds; send its bytes.`
  throw new GatewayError('unknown_image', detail)
}
