import sharp, { type Sharp } from 'sharp'
import { GatewayError } from '../contracts/errors.js'
import type { MaskFacts, Size } from '../contracts/types.js'
import { frameOfMask, framesOf, type OrientationRule } from './frame.js'
import { notAMask, otherShape, readMask } from './mask-pixels.js'
import { traceOutline } from './outline.js'
import { type OutlineForm, writeOutline } from './outline-forms.js'
import { encodeRle } from './rle.js'
import { simplifyOutline } from './simplify.js'
import { inSlices } from './work-slices.js'

export interface MaskFormsOptions {
  /** `MAX_IMAGE_PIXELS`, for photos and masks. */
  maxPixels: number
  /** `IMAGE_ORIENTATION`. */
  orientation: OrientationRule
  /** Forms that may wait. Only one is made at a time, because decoded pictures are large. */
  maxWaiting?: number
}

interface OutlineOptions {
  form: OutlineForm
  simplify: number
  size?: Size | undefined
}

const MAX_WAITING = 32
const RETRY_AFTER_SECONDS = 1
/**
 * Alpha of the soft edge: (grey − `from`) × `factor`. Grey below `from` is JPEG noise around the
 * selection.
 */
const EDGE = { from: 64, factor: 2 }

/**
 * Creates the forms made of a paid mask: its run-length encoding, its outline, and the photo cut
 * out along it. They are of the photo's size: `size`, or that of the frame that the mask is in.
 * They throw `upstream_failed` for a picture that is no mask (`readMask`), and `overloaded` when
 * too many wait. The outline also throws `invalid_parameter` for one with too many corners. The
 * cutout reads the photo only when it starts, so that those that wait hold none.
 */
export function createMaskForms({ maxWaiting = MAX_WAITING, ...options }: MaskFormsOptions) {
  let last: Promise<unknown> = Promise.resolve()
  let waiting = 0
  const enqueue = <T>(make: () => Promise<T>): Promise<T> => {
    if (waiting >= maxWaiting) throw tooMany()
    waiting++
    const made = last.then(make).finally(() => waiting--)
    last = made.catch(() => undefined)
    return made
  }
  return {
    rle: async (mask: Buffer, size?: Size) => enqueue(() => encode(mask, { maxPixels: options.maxPixels, size })),
    outline: async (mask: Buffer, { form, simplify, size }: OutlineOptions) =>
      enqueue(async () => {
        const outline = await traceOutline(await readMask(mask, { maxPixels: options.maxPixels, size }))
        return writeOutline(await simplifyOutline(outline, simplify), form)
      }),
    cutout: async (mask: Buffer, readImage: () => Promise<Buffer>) =>
      enqueue(async () => cutOut(mask, await readImage(), options)),
  }
}

/** Encodes a mask as pycocotools reads it, with box and area. */
async function encode(
  mask: Buffer,
  options: { maxPixels: number; size: Size | undefined },
): Promise<{ body: Buffer; contentType: string; mask: MaskFacts }> {
  const { width, height, counts, bbox, area } = await encodeRle(await readMask(mask, options))
  const body = Buffer.from(JSON.stringify({ size: [height, width], counts, bbox, area }))
  return { body, contentType: 'application/json; charset=utf-8', mask: { bbox, area } }
}

/** Makes a PNG of the photo's size, transparent outside the selection. */
async function cutOut(mask: Buffer, image: Buffer, options: MaskFormsOptions): Promise<Buffer> {
  const { maxPixels } = options
  const { photo, size } = await orientPhoto(await sizeOf(mask, maxPixels), image, options)
  const { data } = await readMask(mask, { maxPixels, size })
  const { data: pixels } = await photo
    .toColourspace('srgb')
    .ensureAlpha()
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
    .catch(unreadablePhoto)
  await inSlices(data.length, (start, end) => applyAlpha(pixels, data, start, end))
  return sharp(pixels, { raw: { ...size, channels: 4 } })
    .png({ compressionLevel: 6 })
    .toBuffer()
}

/**
 * Multiplies the alpha of one slice of pixels, four bytes each, by the mask. A pixel without alpha
 * loses its colour, so that a cutout does not carry the rest of the photo.
 */
function applyAlpha(pixels: Buffer, grey: Uint8Array, first: number, end: number): void {
  for (let index = first; index < end; index++) {
    const edge = Math.min(255, Math.max(0, ((grey[index] as number) - EDGE.from) * EDGE.factor))
    const alpha = Math.round((edge * (pixels[4 * index + 3] as number)) / 255)
    const start = 4 * index
    if (alpha === 0) pixels[start] = pixels[start + 1] = pixels[start + 2] = 0
    pixels[start + 3] = alpha
  }
}

/** Opens the photo in the frame of the mask. */
async function orientPhoto(
  mask: Size,
  image: Buffer,
  { maxPixels, orientation: rule }: MaskFormsOptions,
): Promise<{ photo: Sharp; size: Size }> {
  const open = () => sharp(image, { limitInputPixels: maxPixels, failOn: 'none' })
  const { width, height, orientation = 1 } = await open().metadata().catch(unreadablePhoto)
  const frame = frameOfMask(mask, framesOf({ width, height, orientation }), rule)
  if (!frame) throw otherShape(mask, { width, height })
  const size = { width: frame.width, height: frame.height }
  return { photo: frame.orientation === 1 ? open() : open().autoOrient(), size }
}

async function sizeOf(mask: Buffer, maxPixels: number): Promise<Size> {
  try {
    const { width, height } = await sharp(mask, { limitInputPixels: maxPixels }).metadata()
    return { width, height }
  } catch (cause) {
    throw notAMask('it cannot be decoded', cause)
  }
}

function unreadablePhoto(cause: unknown): never {
  throw new GatewayError('image_unreadable', 'The image cannot be decoded, so no cutout can be made.', { cause })
}

function tooMany(): GatewayError {
  return new GatewayError('overloaded', 'Too many masks are being converted at once. Try again shortly.', {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
  })
}
