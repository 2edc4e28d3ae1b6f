import sharp, { type Sharp } from 'sharp'
import { blur, type Size } from './features.js'

const MAX_PHOTO_PIXELS = 64_000_000
const FORMATS = new Set(['jpeg', 'png', 'webp'])
/** Longer side of the small picture, on which objects are found. */
const SMALL_SIDE = 320
const JPEG_QUALITY = 90
/** Contrast of the outline of an enlarged mask. */
const SHARPNESS = 3

/** The photo or a point is invalid. The message is for the caller. */
export interface Refusal {
  refused: string
}

/** Interleaved 8-bit sRGB pixels. */
export interface Picture extends Size {
  rgb: Uint8Array
}

/** First frame of a photo, turned by its EXIF orientation, on white: in full and reduced size. */
export interface Photo {
  full: Picture
  small: Picture
  /** CIE L (0–100), a and b (about ±100) of each pixel of the small picture. */
  lab: Float32Array
}

/**
 * Decodes a JPEG, PNG or WebP of any depth and colour space. Refuses other formats and photos that
 * are too large.
 */
export async function decode(bytes: Uint8Array): Promise<Photo | Refusal> {
  try {
    const limitInputPixels = MAX_PHOTO_PIXELS
    const { format } = await sharp(bytes, { limitInputPixels }).metadata()
    if (!FORMATS.has(format ?? '')) return { refused: 'image must be a JPG, PNG or WebP' }
    const upright = sharp(bytes, { limitInputPixels, failOn: 'truncated' }).rotate().flatten({ background: 'white' })
    const full = await toPicture(upright.toColourspace('srgb'))
    const scale = Math.min(1, SMALL_SIDE / Math.max(full.width, full.height))
    const side = (length: number) => Math.max(1, Math.round(length * scale))
    const small = await toPicture(open(full.rgb, full, 3).resize(side(full.width), side(full.height), { fit: 'fill' }))
    const lab = await open(small.rgb, small, 3).toColourspace('lab').raw({ depth: 'float' }).toBuffer()
    return { full, small, lab: new Float32Array(lab.buffer, lab.byteOffset, lab.length / 4) }
  } catch {
    return { refused: 'image could not be decoded' }
  }
}

/** Encodes 1 or 3 channels as JPEG. */
export async function encode(data: Uint8Array, size: Size, channels: 1 | 3): Promise<Uint8Array> {
  return open(data, size, channels).jpeg({ quality: JPEG_QUALITY }).toBuffer()
}

/** Enlarges a mask of 0 and 1, with a smooth outline. Returns the coverage of each pixel, 0–255. */
export async function enlarge(mask: Uint8Array, small: Size, full: Size): Promise<Uint8Array> {
  const soft = blur(Float32Array.from(mask), small, 1).map(value => Math.round(255 * value))
  const enlarged = open(Uint8Array.from(soft), small, 1).resize(full.width, full.height, { fit: 'fill' })
  const sharpened = enlarged.linear(SHARPNESS, 128 * (1 - SHARPNESS))
  return sharpened.toColourspace('b-w').raw().toBuffer()
}

function open(data: Uint8Array, { width, height }: Size, channels: 1 | 3): Sharp {
  return sharp(data, { raw: { width, height, channels }, limitInputPixels: false })
}

async function toPicture(image: Sharp): Promise<Picture> {
  const { data, info } = await image.removeAlpha().raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, rgb: data }
}
