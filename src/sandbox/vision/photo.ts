import sharp, { type Sharp } from 'sharp'
import type { Picture } from './enlarge.js'

/** The largest photo the sandbox looks at. */
export const MAX_PHOTO_PIXELS = 64_000_000
const FORMATS = new Set(['jpeg', 'png', 'webp'])
/** The longer side of the small picture on which everything is decided. */
const WORK_SIDE = 320
const JPEG_QUALITY = 90

/** The photo or a point cannot be used; the sentence is meant for the caller. */
export interface Refusal {
  refused: string
}

/** A photo as people see it (turned by its EXIF orientation, first frame, on white), in full and small. */
export interface Photo {
  full: Picture
  small: Picture
}

/** Decodes a JPEG, PNG or WebP of any depth and colour space, and refuses anything else. */
export async function decode(bytes: Uint8Array): Promise<Photo | Refusal> {
  try {
    const { format } = await sharp(bytes, { limitInputPixels: MAX_PHOTO_PIXELS }).metadata()
    if (!FORMATS.has(format ?? '')) return { refused: 'image must be a JPG, PNG or WebP' }
    const full = await pixels(
      sharp(bytes, { limitInputPixels: MAX_PHOTO_PIXELS, failOn: 'truncated' })
        .rotate()
        .flatten({ background: 'white' })
        .toColourspace('srgb'),
    )
    return { full, small: await shrink(full) }
  } catch {
    return { refused: 'image could not be decoded' }
  }
}

/** Writes a picture of 1 or 3 channels as JPEG. */
export async function encode(
  data: Uint8Array,
  shape: { width: number; height: number; channels: 1 | 3 },
): Promise<Uint8Array> {
  return sharp(data, { raw: shape, limitInputPixels: false }).jpeg({ quality: JPEG_QUALITY }).toBuffer()
}

async function shrink(full: Picture): Promise<Picture> {
  const scale = Math.min(1, WORK_SIDE / Math.max(full.width, full.height))
  const width = Math.max(1, Math.round(full.width * scale))
  const height = Math.max(1, Math.round(full.height * scale))
  const raw = { width: full.width, height: full.height, channels: 3 } as const
  return pixels(sharp(full.rgb, { raw, limitInputPixels: false }).resize(width, height, { fit: 'fill' }))
}

async function pixels(image: Sharp): Promise<Picture> {
  const { data, info } = await image.removeAlpha().raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, rgb: data }
}
