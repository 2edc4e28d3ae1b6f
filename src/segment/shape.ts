import { createHash } from 'node:crypto'
import { defined } from '../contracts/defined.js'
import { GatewayError } from '../contracts/errors.js'
import { etagOf } from '../contracts/etag.js'
import type { MaybePromise } from '../contracts/maybe-promise.js'
import type { CacheKey, Frame, ImageBytes, MaskFacts, Result } from '../contracts/types.js'
import { joinChunks } from '../images/byte-collector.js'
import { pictureOf } from '../images/containers/structure.js'
import { frameOfPicture, hasShapeOf, type OrientationRule } from '../images/frame.js'
import { otherShape } from '../images/mask-pixels.js'
import { OUTLINE_FORMS, type OutlineForm } from '../images/outline-forms.js'
import { isOutline, type Output, type OutputForm } from '../input/output-form.js'
import type { RequestedImage } from './keyed-request.js'
import type { PaidFailures } from './paid-failures.js'
import type { Flights, MaskForms, PipelineParts } from './ports.js'

/** A result in the requested output form. */
export interface Shaped {
  key: CacheKey
  result: Result
  /** Position and size of the selection; present for forms derived from a mask. */
  mask?: MaskFacts
  /** Size and orientation of the photo in which it is; absent where the photo is not known. */
  frame?: Frame | undefined
}

/** The requested output form of a result. */
export interface OutputRequest extends OutputForm {
  output: Output
  image: RequestedImage
  /** The team under `CACHE_SCOPE=team`, else empty. */
  scope: string
  team: string
  /** False under `no-store`: the form is not kept. */
  isKept: boolean
}

type PhotoParts = Pick<PipelineParts, 'results' | 'images' | 'checkImage' | 'orientation' | 'observer'>

export interface ShapeParts extends PhotoParts {
  maskForms: MaskForms
  paidFailures: Pick<PaidFailures, 'failed'>
  /** Removes a result from the cache of every process. Never throws. */
  dropResult(key: CacheKey): Promise<void>
  /** Conversions in progress. */
  shaping: Flights<Result, string>
}

/**
 * Converts a paid result into the requested output form at no cost, and keeps it under a key of its
 * own, so that one purchase serves every form. `overlay` and `mask` are Segmind's own pictures.
 * Throws `unknown_image` for a cutout of an image the gateway no longer holds, `overloaded`, and
 * `upstream_failed` when the mask is none. Such a mask is removed from the cache.
 */
export async function shape(paid: Shaped, request: OutputRequest, parts: ShapeParts): Promise<Shaped> {
  const { image, scope } = request
  const bytes = paid.result.photo ? undefined : (image.uploaded ?? (await parts.images.find(scope, image.digest)))
  const frame = await frameOf(paid.result, bytes, parts)
  const framed = { ...paid, ...defined({ frame }) }
  if (request.output === 'overlay') return framed
  try {
    return { ...(await derive(framed, request, parts)), ...defined({ frame }) }
  } catch (error) {
    if (!isUnfit(error)) throw error
    parts.observer.pictureUnfit('mask', { picture: paid.result.size, photo: frame })
    parts.paidFailures.failed(paid.key)
    await parts.dropResult(paid.key)
    throw error
  }
}

/** Returns whether the error says that a paid picture is no mask. */
function isUnfit(error: unknown): boolean {
  return error instanceof GatewayError && error.code === 'upstream_failed' && !error.retryable
}

/**
 * Returns the size and orientation of the photo in which a result is. Results of earlier versions
 * and of dead processes do not tell the photo, so it is read from `image`, if there is one.
 */
export function frameOf(
  result: Result,
  image: ImageBytes | undefined,
  parts: Pick<PipelineParts, 'checkImage' | 'orientation'>,
): MaybePromise<Frame | undefined> {
  return result.photo ? frameOfPicture(result, parts.orientation) : readFrame(result, image, parts)
}

async function readFrame(
  { size, body }: Result,
  image: ImageBytes | undefined,
  { checkImage, orientation }: Pick<PipelineParts, 'checkImage' | 'orientation'>,
): Promise<Frame | undefined> {
  const checked = image && (await checkImage(image, { overlayMask: true }).catch(() => undefined))
  return frameOfPicture({ ...defined({ size: size ?? pictureOf(body)?.size, photo: checked?.photo }) }, orientation)
}

async function derive(paid: Shaped, request: OutputRequest, parts: ShapeParts): Promise<Shaped> {
  const { output, simplify = 0 } = request
  const { frame, result } = paid
  // The purchase has compared a result that states its photo.
  const size = result.photo ? undefined : (result.size ?? pictureOf(result.body)?.size)
  if (frame && size && !hasShapeOf(frame, size)) throw otherShape(size, frame)
  if (isOutline(output)) {
    const outline = await findOrMake(outlineName(output, simplify), paid, request, parts, () =>
      parts.maskForms.outline(paid.result.body, { form: output, simplify, size: frame }),
    )
    return { ...outline, ...factsOf(outline) }
  }
  const rle = findOrMake('rle', paid, request, parts, () => parts.maskForms.rle(paid.result.body, frame))
  // A mask that cannot be measured now is returned all the same.
  if (output === 'mask') return { ...paid, ...(await rle.then(factsOf, nothingUnlessUnfit)) }
  const measured = await rle
  if (output === 'rle') return { ...measured, ...factsOf(measured) }
  const cutout = await findOrMake('cutout', paid, request, parts, async () => {
    const body = await parts.maskForms.cutout(paid.result.body, () => bytesOf(request, parts))
    return { body, contentType: 'image/png', ...factsOf(measured) }
  })
  return { ...cutout, ...factsOf(measured) }
}

function nothingUnlessUnfit(error: unknown): { mask?: MaskFacts } {
  if (isUnfit(error)) throw error
  return {}
}

interface Derived {
  body: Buffer
  contentType: string
  mask?: MaskFacts
}

/**
 * Finds a derived form in the cache, or makes it. Concurrent requests for the same form share the
 * work. A form that is never kept has the key of its mask.
 */
async function findOrMake(
  form: string,
  { key: maskKey, result: mask, frame }: Shaped,
  request: OutputRequest,
  parts: ShapeParts,
  make: () => Promise<Derived>,
): Promise<Shaped> {
  const key = keyOf(form, mask, { ...request, rule: parts.orientation })
  const isKeepable = KEEPABLE_FORMS.includes(form)
  const isCurrent = (result: Result) => result.storedAt >= mask.storedAt
  const { result: known } = isKeepable ? await parts.results.find(key, isCurrent) : {}
  if (known && isCurrent(known)) return { key, result: known }
  const { outcome } = parts.shaping.join(key, request.team, async () => {
    const { body, ...described } = await make()
    const etag = etagOf(body)
    const { storedAt, cost, boughtBy, scope, size, photo } = mask
    const result: Result = {
      body,
      etag,
      storedAt,
      cost,
      image: request.image.digest,
      ...described,
      ...defined({ boughtBy, scope, size, photo }),
    }
    // Without the photo, the form has the size of the mask.
    if (request.isKept && frame && isKeepable) await parts.results.keep(key, result)
    return result
  })
  return { key: isKeepable ? key : maskKey, result: await outcome }
}

/** Another version makes every kept form unreachable: `f2` forms had the size of their mask. */
const FORMS_VERSION = 'f3'
/**
 * Outlines of other tolerances are made each time. So a purge can name every form, and storage is
 * bounded.
 */
const KEPT_TOLERANCES = [0, 1, 2, 3, 4, 5]
const KEEPABLE_FORMS = [
  'rle',
  'cutout',
  ...OUTLINE_FORMS.flatMap(form => KEPT_TOLERANCES.map(simplify => outlineName(form, simplify))),
]
const RULES: readonly OrientationRule[] = ['applied', 'ignored']

/** The key includes the mask's own digest, because a later purchase may return another mask. */
function keyOf(
  form: string,
  { etag }: Pick<Result, 'etag'>,
  { image, scope, rule }: Pick<OutputRequest, 'image' | 'scope'> & { rule: OrientationRule },
): CacheKey {
  return createHash('sha256')
    .update(JSON.stringify([FORMS_VERSION, form, scope, image.digest, etag, rule]))
    .digest('hex')
}

function outlineName(form: OutlineForm, simplify: number): string {
  return `${form}-${simplify}`
}

/** Lists the cache keys of the forms derived from a result. */
export function derivedKeysOf({ etag, image, scope = '' }: Result): CacheKey[] {
  if (image === undefined) return []
  return KEEPABLE_FORMS.flatMap(form =>
    RULES.map(rule => keyOf(form, { etag }, { image: { digest: image }, scope, rule })),
  )
}

function factsOf({ result }: { result: { mask?: MaskFacts } }): { mask?: MaskFacts } {
  return result.mask ? { mask: result.mask } : {}
}

async function bytesOf({ image, scope }: OutputRequest, parts: ShapeParts): Promise<Buffer> {
  const bytes = image.uploaded ?? (await parts.images.find(scope, image.digest))
  if (bytes) return joinChunks(bytes)
  const detail = `A cutout needs the image sha256:${image.digest}, which the gateway no longer holds; send its bytes.`
  throw new GatewayError('unknown_image', detail)
}
