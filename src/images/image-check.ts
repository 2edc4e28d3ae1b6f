import sharp, { type Metadata } from 'sharp'
import { GatewayError } from '../contracts/errors.js'
import type { ImageBytes, ImageType, Params, Point, Size } from '../contracts/types.js'
import { wholeSize } from './containers/structure.js'
import { imageTypeOf } from './image-type.js'

/**
 * Creates the check of an image's header. From then on this process's libvips loads only JPEG, PNG
 * and WebP, and only from memory. The check returns the image's size. It throws
 * `unsupported_image`, `image_unreadable`, `image_too_many_pixels`, and `invalid_parameter` for a
 * point outside the image.
 */
export function createImageCheck({ maxPixels }: { maxPixels: number }) {
  allowOnlyAcceptedLoaders()
  return async (image: ImageBytes, params: Params): Promise<Size> => {
    const { size, isRotated } = await readHeader(image)
    if (size.width * size.height > maxPixels) {
      throw new GatewayError(
        'image_too_many_pixels',
        `The image is ${formatSize(size)} pixels, which is more than the limit of ${maxPixels} pixels.`,
      )
    }
    if (params.coordinates || params.removeCoordinates) checkPoints(params, size, isRotated)
    return size
  }
}

/**
 * Blocks all other loaders, which only add attack surface, and libvips's cache: no image is read
 * twice in a row.
 */
function allowOnlyAcceptedLoaders(): void {
  sharp.cache(false)
  sharp.block({ operation: ['VipsForeignLoad'] })
  sharp.unblock({
    operation: ['VipsForeignLoadJpegBuffer', 'VipsForeignLoadPngBuffer', 'VipsForeignLoadWebpBuffer'],
  })
}

async function readHeader(image: ImageBytes): Promise<{ size: Size; isRotated: boolean }> {
  const type = imageTypeOf(image.chunks)
  if (type === undefined) throw new GatewayError('unsupported_image', 'The image is not a JPEG, PNG or WebP.')
  const bytes = joined(image.chunks)
  const metadata = await readMetadata(type, bytes)
  const size = { width: metadata.width, height: metadata.height }
  if (metadata.format !== type || !(size.width > 0 && size.height > 0)) throw unreadable(type)
  if (!wholeSize(type, bytes)) throw incomplete(type, bytes.length)
  return { size, isRotated: (metadata.orientation ?? 1) >= 5 }
}

function joined(chunks: readonly Buffer[]): Buffer {
  const [first, ...others] = chunks
  return first && others.length === 0 ? first : Buffer.concat(chunks)
}

async function readMetadata(type: ImageType, bytes: Buffer): Promise<Metadata> {
  try {
    return await sharp(bytes, { limitInputPixels: false, limitInputChannels: false }).metadata()
  } catch (error) {
    throw unreadable(type, error)
  }
}

function unreadable(type: string, cause?: unknown): GatewayError {
  const detail = `The image begins as ${type.toUpperCase()}, but its header is truncated or corrupt.`
  return new GatewayError('image_unreadable', detail, { cause })
}

function incomplete(type: string, byteLength: number): GatewayError {
  const detail = `The image is not complete: the ${type.toUpperCase()} breaks off, or is damaged, within its ${byteLength} bytes.`
  return new GatewayError('image_unreadable', detail)
}

/**
 * Checks that every point is inside the image. Callers may count points before or after EXIF
 * rotates the image. It is not known which one Segmind expects, so both are accepted.
 */
function checkPoints(params: Params, size: Size, isRotated: boolean): void {
  const sizes = isRotated ? [size, { width: size.height, height: size.width }] : [size]
  const lists = { coordinates: params.coordinates ?? [], remove_coordinates: params.removeCoordinates ?? [] }
  for (const [field, points] of Object.entries(lists)) {
    const outside = points.findIndex(point => !sizes.some(each => isInside(point, each)))
    if (outside < 0) continue
    const point = `${field}: point ${outside + 1}, [${points[outside]?.join(',')}]`
    const accepted = sizes.map(formatSize).join(' pixels, or with EXIF rotation ')
    throw new GatewayError('invalid_parameter', `${point}, is outside the image, which is ${accepted} pixels.`)
  }
}

function isInside([x, y]: Point, { width, height }: Size): boolean {
  return x < width && y < height
}

function formatSize({ width, height }: Size): string {
  return `${width}×${height}`
}
