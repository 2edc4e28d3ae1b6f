import { setImmediate as turn } from 'node:timers/promises'
import sharp, { type Sharp } from 'sharp'
import { GatewayError } from '../errors.js'
import type { MaskForms } from './ports.js'
import { encodeRle } from './rle.js'

export interface MaskFormsOptions {
  /** `MAX_IMAGE_PIXELS`, of a photo and of a mask. */
  maxPixels: number
  /** Forms that wait to be made; one is made at a time, since decoded pictures are large. */
  maxWaiting?: number
}

interface Size {
  width: number
  height: number
}

const MAX_WAITING = 32
const RETRY_AFTER_SECONDS = 1
/** After so many pixels others get their turn. */
const PIXELS_A_TURN = 2_000_000
/** How much two shapes may differ to count as one, as a share. */
const SHAPE_TOLERANCE = 0.01
/** Grey below is noise of the JPEG around the selection, above surely selected; between them lies its soft edge. */
const EDGE = { from: 64, factor: 2 }

/**
 * Makes what is derived from a paid mask (white on black, of any type): its run-length encoding, and the photo cut out along it. Throws
 * `upstream_failed` for a mask that cannot be decoded or has another shape than the photo, `overloaded` when too many wait.
 */
export function createMaskForms({ maxPixels, maxWaiting = MAX_WAITING }: MaskFormsOptions): MaskForms {
  let last: Promise<unknown> = Promise.resolve()
  let waiting = 0
  const inTurn = <T>(make: () => Promise<T>): Promise<T> => {
    if (waiting >= maxWaiting) throw tooMany()
    waiting++
    const made = last.then(make).finally(() => waiting--)
    last = made.catch(() => undefined)
    return made
  }
  return {
    rle: async mask => inTurn(() => encode(mask, maxPixels)),
    cutout: async (mask, image) => inTurn(() => cutOut(mask, image, maxPixels)),
  }
}

/** As pycocotools reads it, with the box and the area beside it. */
async function encode(mask: Buffer, maxPixels: number): ReturnType<MaskForms['rle']> {
  const { data, info } = await greyOf(mask, maxPixels).catch(unreadableMask)
  const { width, height, counts, bbox, area } = await encodeRle({ width: info.width, height: info.height, data })
  const body = Buffer.from(JSON.stringify({ size: [height, width], counts, bbox, area }))
  return { body, contentType: 'application/json; charset=utf-8', mask: { bbox, area } }
}

/** A PNG of the photo's size, transparent where nothing is selected. */
async function cutOut(mask: Buffer, image: Buffer, maxPixels: number): Promise<Buffer> {
  const maskSize = await sharp(mask, { limitInputPixels: maxPixels }).metadata().catch(unreadableMask)
  const { photo, size } = await photoFor(maskSize, image, maxPixels)
  const isSame = maskSize.width === size.width && maskSize.height === size.height
  const { data } = await greyOf(mask, maxPixels, isSame ? undefined : size).catch(unreadableMask)
  const { data: pixels } = await photo
    .toColourspace('srgb')
    .ensureAlpha()
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
    .catch(unreadablePhoto)
  for (let from = 0; from < data.length; from += PIXELS_A_TURN) {
    makeTransparent(pixels, data, from)
    await turn()
  }
  return sharp(pixels, { raw: { ...size, channels: 4 } })
    .png({ compressionLevel: 6 })
    .toBuffer()
}

/** Of the pixels (four bytes each) from a place on. */
function makeTransparent(pixels: Buffer, grey: Buffer, from: number): void {
  const to = Math.min(grey.length, from + PIXELS_A_TURN)
  for (let at = from; at < to; at++) {
    const alpha = Math.min(255, Math.max(0, ((grey[at] as number) - EDGE.from) * EDGE.factor))
    pixels[4 * at + 3] = Math.round((alpha * (pixels[4 * at + 3] as number)) / 255)
  }
}

/** The photo as the mask lies on it: as stored, or as EXIF turns it, whichever has its shape. */
async function photoFor(mask: Size, image: Buffer, maxPixels: number): Promise<{ photo: Sharp; size: Size }> {
  const open = () => sharp(image, { limitInputPixels: maxPixels, failOn: 'none' })
  const { width, height, orientation = 1 } = await open().metadata().catch(unreadablePhoto)
  const stored = { width, height }
  const turned = { width: height, height: width }
  const isTurned = orientation >= 5
  const asStored = isEqual(mask, stored) ? -1 : shapeDifference(mask, stored)
  const asTurned = isTurned ? (isEqual(mask, turned) ? -1 : shapeDifference(mask, turned)) : Number.POSITIVE_INFINITY
  // A photo that is nearly square is like the mask both ways: the nearer one it is.
  if (Math.min(asStored, asTurned) <= SHAPE_TOLERANCE) {
    return asTurned < asStored ? { photo: open().autoOrient(), size: turned } : { photo: open(), size: stored }
  }
  const [is, was] = [mask, stored].map(size => `${size.width}×${size.height}`)
  throw new GatewayError('upstream_failed', `The mask is ${is} pixels, and the photo ${was}: it cannot be cut out.`)
}

/** One byte a pixel: alpha on black, then grey. */
function greyOf(mask: Buffer, maxPixels: number, size?: Size) {
  const grey = sharp(mask, { limitInputPixels: maxPixels, failOn: 'error' }).flatten({ background: '#000' }).greyscale()
  const scaled = size ? grey.resize({ ...size, fit: 'fill' }) : grey
  return scaled.toColourspace('b-w').raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true })
}

function isEqual(one: Size, other: Size): boolean {
  return one.width === other.width && one.height === other.height
}

/** How much the shapes differ, as a share: 0 where the sizes are multiples of each other. */
function shapeDifference(one: Size, other: Size): number {
  return Math.abs((one.width * other.height) / (one.height * other.width) - 1)
}

function unreadableMask(cause: unknown): never {
  throw new GatewayError('upstream_failed', 'What Segmind answered cannot be decoded as a mask.', { cause })
}

function unreadablePhoto(cause: unknown): never {
  throw new GatewayError('image_unreadable', 'The image cannot be decoded, so nothing can be cut out of it.', { cause })
}

function tooMany(): GatewayError {
  return new GatewayError('overloaded', 'Too many forms of masks are being made at once.', {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
  })
}
