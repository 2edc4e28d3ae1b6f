import sharp, { type Metadata } from 'sharp'
import { GatewayError } from '../errors.js'
import { imageTypeOf } from './image-type.js'
import type { CheckImage } from './ports.js'
import type { ImageBytes, Params, Point } from './types.js'

interface Size {
  width: number
  height: number
}

/**
 * Builds the check of an image's structure, which reads its header only. From then on this process's libvips reads nothing but
 * JPEG, PNG and WebP from memory, whoever asks.
 * The check throws `unsupported_image`, `image_unreadable`, `image_too_many_pixels`, and `invalid_parameter` for a point outside.
 */
export function createImageCheck({ maxPixels }: { maxPixels: number }): CheckImage {
  allowOnlyAcceptedLoaders()
  return async (image, params) => {
    const { size, isTurned } = await readHeader(image)
    if (size.width * size.height > maxPixels) {
      throw new GatewayError(
        'image_too_many_pixels',
        `The image is ${say(size)} pixels, which is more than the limit of ${maxPixels} pixels.`,
      )
    }
    checkPoints(params, size, isTurned)
    return size
  }
}

/** Loaders of other formats would only be attack surface, and libvips's cache only memory: no image is looked at twice in a row. */
function allowOnlyAcceptedLoaders(): void {
  sharp.cache(false)
  sharp.block({ operation: ['VipsForeignLoad'] })
  sharp.unblock({
    operation: ['VipsForeignLoadJpegBuffer', 'VipsForeignLoadPngBuffer', 'VipsForeignLoadWebpBuffer'],
  })
}

async function readHeader(image: ImageBytes): Promise<{ size: Size; isTurned: boolean }> {
  const type = imageTypeOf(image.chunks)
  if (type === undefined) throw new GatewayError('unsupported_image', 'The image is not a JPEG, PNG or WebP.')
  const metadata = await readMetadata(image)
  const size = { width: metadata.width, height: metadata.height }
  if (metadata.format !== type || !(size.width > 0 && size.height > 0)) throw unreadable(type)
  return { size, isTurned: (metadata.orientation ?? 1) >= 5 }
}

async function readMetadata({ type, chunks }: ImageBytes): Promise<Metadata> {
  const [first, ...others] = chunks
  try {
    const bytes = first && others.length === 0 ? first : Buffer.concat(chunks)
    return await sharp(bytes, { limitInputPixels: false, limitInputChannels: false }).metadata()
  } catch (error) {
    throw unreadable(type, error)
  }
}

function unreadable(type: string, cause?: unknown): GatewayError {
  const detail = `The image begins as ${type.toUpperCase()}, but its header is truncated or corrupt.`
  return new GatewayError('image_unreadable', detail, { cause })
}

/** Callers measure points before or after EXIF turned the picture; it is not known which Segmind does, so either will do. */
function checkPoints(params: Params, size: Size, isTurned: boolean): void {
  const sizes = isTurned ? [size, { width: size.height, height: size.width }] : [size]
  const lists = { coordinates: params.coordinates ?? [], remove_coordinates: params.removeCoordinates ?? [] }
  for (const [field, points] of Object.entries(lists)) {
    const outside = points.findIndex(point => !sizes.some(each => isInside(point, each)))
    if (outside < 0) continue
    const where = `${field}: point ${outside + 1}, [${points[outside]?.join(',')}]`
    const detail = `${where}, lies outside the image, which is ${sizes.map(say).join(' or, as EXIF turns it, ')} pixels.`
    throw new GatewayError('invalid_parameter', detail)
  }
}

function isInside([x, y]: Point, { width, height }: Size): boolean {
  return x < width && y < height
}

function say({ width, height }: Size): string {
  return `${width}×${height}`
}
