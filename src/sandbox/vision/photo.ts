import sharp, { type Sharp } from 'sharp'
import { FEATURES, type Size } from './features.js'

const MAX_PHOTO_PIXELS = 64_000_000
const FORMATS = new Set(['jpeg', 'png', 'webp'])
/** Longer side of the small picture, on which objects are found. */
const SMALL_SIDE = 320
const JPEG_QUALITY = 90
/** Linear light of each sRGB value. */
const LINEAR = Float32Array.from({ length: 256 }, (_, value) =>
  value <= 10 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4,
)

/** The photo or a point is invalid. The message is for the caller. */
export interface Refusal {
  refused: string
}

/** Interleaved 8-bit sRGB pixels. */
export interface Picture extends Size {
  rgb: Uint8Array
}

/**
 * The first frame of a photo, turned by its EXIF orientation, on white: in full and reduced size.
 */
export interface Photo {
  full: Picture
  small: Picture
  /** L (0–100), a and b (about ±100) of each pixel of the small picture, then 0: `FEATURES` values. */
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
    const raw = { width: full.width, height: full.height, channels: 3 } as const
    const copy = sharp(full.rgb, { raw, limitInputPixels: false })
    const small = await toPicture(copy.resize(side(full.width), side(full.height), { fit: 'fill' }))
    return { full, small, lab: toLab(small) }
  } catch {
    return { refused: 'image could not be decoded' }
  }
}

/** Encodes 1 or 3 channels as JPEG. */
export async function encode(data: Uint8Array, { width, height }: Size, channels: 1 | 3): Promise<Uint8Array> {
  const raw = { width, height, channels }
  return sharp(data, { raw, limitInputPixels: false }).jpeg({ quality: JPEG_QUALITY }).toBuffer()
}

async function toPicture(image: Sharp): Promise<Picture> {
  const { data, info } = await image.removeAlpha().raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, rgb: data }
}

/** Converts sRGB to CIE Lab (D65), with 0 as texture. */
function toLab({ rgb }: Picture): Float32Array {
  const lab = new Float32Array((FEATURES * rgb.length) / 3)
  for (let pixel = 0; 3 * pixel < rgb.length; pixel++) {
    const light = (channel: number) => LINEAR[rgb[3 * pixel + channel] ?? 0] ?? 0
    const [red, green, blue] = [light(0), light(1), light(2)]
    const x = labCurve((0.412453 * red + 0.35758 * green + 0.180423 * blue) / 0.950456)
    const y = labCurve(0.212671 * red + 0.71516 * green + 0.072169 * blue)
    const z = labCurve((0.019334 * red + 0.119193 * green + 0.950227 * blue) / 1.088754)
    lab.set([116 * y - 16, 500 * (x - y), 200 * (y - z)], FEATURES * pixel)
  }
  return lab
}

function labCurve(value: number): number {
  return value > 0.008856 ? Math.cbrt(value) : 7.787 * value + 16 / 116
}
