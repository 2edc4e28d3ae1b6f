import { createHash } from 'node:crypto'
import { GatewayError } from '../errors.js'
import type { Output } from './output.js'
import type { Flights, Images, MaskForms, Results } from './ports.js'
import type { RequestedImage } from './question.js'
import type { CacheKey, MaskFacts, Result } from './types.js'

/** A result in the form that was asked for. */
export interface Shaped {
  key: CacheKey
  result: Result
  /** Where and how large the selection is, where that was asked for. */
  mask?: MaskFacts
}

/** Which form of a result, and of what. */
export interface Wish {
  output?: Output | undefined
  image: RequestedImage
  /** The team under `CACHE_SCOPE=team`, else empty. */
  scope: string
  team: string
  /** False leaves no trace (`no-store`). */
  isKept: boolean
}

export interface ShapeParts {
  results: Results
  images: Images
  maskForms: MaskForms
  /** Forms being made. */
  shaping: Flights<Result>
}

/**
 * Makes the form that was asked for of a paid result, once and for nothing: it is kept under a key of its own, so that one purchase serves every form.
 * `overlay` and `mask` are Segmind's own pictures. Throws `unknown_image` for a cutout of an image that is here no more, `upstream_failed` where the
 * mask is none, `overloaded`.
 */
export async function shape(paid: Shaped, wish: Wish, parts: ShapeParts): Promise<Shaped> {
  const { output } = wish
  if (output === undefined || output === 'overlay') return paid
  const rle = made('rle', paid.result, wish, parts, () => parts.maskForms.rle(paid.result.body))
  // A mask is what it is, also where nothing can be said about it.
  if (output === 'mask') return { ...paid, ...(await rle.then(factsOf, () => ({}))) }
  const measured = await rle
  if (output === 'rle') return { ...measured, ...factsOf(measured) }
  const cutout = await made('cutout', paid.result, wish, parts, async () => {
    const body = await parts.maskForms.cutout(paid.result.body, await bytesOf(wish, parts))
    return { body, contentType: 'image/png', ...factsOf(measured) }
  })
  return { ...cutout, ...factsOf(measured) }
}

interface Made {
  body: Buffer
  contentType: string
  mask?: MaskFacts
}

/** Finds a form, or makes it; whoever asks for the same meanwhile waits for it. */
async function made(
  form: 'rle' | 'cutout',
  mask: Result,
  wish: Wish,
  parts: ShapeParts,
  make: () => Promise<Made>,
): Promise<Shaped> {
  const key = keyOf(form, mask, wish)
  const found = await parts.results.find(key, result => result.storedAt >= mask.storedAt)
  if (found.result && found.result.storedAt >= mask.storedAt) return { key, result: found.result }
  const { landed } = parts.shaping.join(key, wish.team, async () => {
    const { body, ...described } = await make()
    const etag = createHash('sha256').update(body).digest('hex').slice(0, 32)
    const { storedAt, cost, boughtBy, scope } = mask
    const result: Result = {
      ...{ body, etag, storedAt, cost, image: wish.image.digest, ...described },
      ...(boughtBy !== undefined && { boughtBy }),
      ...(scope !== undefined && { scope }),
    }
    if (wish.isKept) await parts.results.keep(key, result)
    return result
  })
  return { key, result: await landed }
}

/** Of the mask's own bytes: one that is bought anew may be another one. */
function keyOf(
  form: string,
  { etag }: Pick<Result, 'etag'>,
  { image, scope }: Pick<Wish, 'image' | 'scope'>,
): CacheKey {
  return createHash('sha256')
    .update(JSON.stringify(['f1', form, scope, image.digest, etag]))
    .digest('hex')
}

/** Under which keys lies what was made of a result. */
export function formsOf({ etag, image, scope = '' }: Result): CacheKey[] {
  if (image === undefined) return []
  return ['rle', 'cutout'].map(form => keyOf(form, { etag }, { image: { digest: image }, scope }))
}

function factsOf({ result }: { result: { mask?: MaskFacts } }): { mask?: MaskFacts } {
  return result.mask ? { mask: result.mask } : {}
}

async function bytesOf({ image, scope }: Wish, parts: ShapeParts): Promise<Buffer> {
  const bytes = image.uploaded ?? (await parts.images.find(scope, image.digest))
  if (bytes) return bytes.chunks.length === 1 && bytes.chunks[0] ? bytes.chunks[0] : Buffer.concat(bytes.chunks)
  const detail = `A cutout needs the image sha256:${image.digest}, which the gateway holds no more; send its bytes.`
  throw new GatewayError('unknown_image', detail)
}
