import sharp, { type Metadata } from 'sharp'
import { GatewayError } from '../contracts/errors.js'
import type { CheckedImage, ImageBytes, ImageType, Params, Photo, Point, Size } from '../contracts/types.js'
import { joinChunks } from './byte-collector.js'
import { wholeSize } from './containers/structure.js'
import { expectedFrame, type Frames, framesOf, type OrientationRule } from './frame.js'
import { imageTypeOf } from './image-type.js'

export interface ImageCheckOptions {
  /** `MAX_IMAGE_PIXELS`. */
  maxPixels: number
  /** `IMAGE_ORIENTATION`. */
  orientation: OrientationRule
}

/**
 * Creates the check of an image's header. From then on this process's libvips loads only JPEG, PNG
 * and WebP, and only from memory. The check returns the image's size. It throws
 * `unsupported_image`, `image_unreadable`, `image_too_many_pixels`, and `invalid_parameter` for a
 * point outside the image.
 */
export function createImageCheck({ maxPixels, orientation }: ImageCheckOptions) {
  allowOnlyAcceptedLoaders()
  return async (image: ImageBytes, params: Params): Promise<CheckedImage> => {
    const photo = await readHeader(image)
    if (photo.width * photo.height > maxPixels) {
      throw new GatewayError(
        'image_too_many_pixels',
        `The image is ${formatSize(photo)} pixels, which is more than the limit of ${maxPixels} pixels.`,
      )
    }
    const frames = framesOf(photo)
    if (params.coordinates || params.removeCoordinates) checkPoints(params, frames)
    return { photo, frame: expectedFrame(frames, orientation) }
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

async function readHeader(image: ImageBytes): Promise<Photo> {
  const type = imageTypeOf(image.chunks)
  if (type === undefined) throw new GatewayError('unsupported_image', 'The image is not a JPEG, PNG or WebP.')
  const bytes = joinChunks(image)
  const metadata = await readMetadata(type, bytes)
  const { width, height, orientation = 1 } = metadata
  if (metadata.format !== type || !(width > 0 && height > 0)) throw unreadable(type)
  if (!wholeSize(type, bytes)) throw incomplete(type, bytes.length)
  return { width, height, orientation }
}

async function readMetadata(type: ImageType, bytes: Buffer): Promise<Metadata> {
  try {
    return await sharp(bytes, { limitInputPixels: false, limitInputChannels: false }).metadata()
  } catch (error) {
    throw unreadable(type, error)
  }
}

function unreadable(type: string, cause?: unknown): GatewayError {
  const detail = `The image begins as ${type.toUpperCase()}, but it is truncated or corrupt.`
  return new GatewayError('image_unreadable', detail, { cause })
}

function incomplete(type: string, byteLength: number): GatewayError {
  const name = type.toUpperCase()
  const detail = `The image is not complete: the ${name} breaks off or is damaged within its ${byteLength} bytes.`
  return new GatewayError('image_unreadable', detail)
}

/**
 * Checks that all points are inside the image. Callers may count points before or after EXIF turns
 * the image. It is not known which one Segmind expects, so either frame may hold them, but one must
 * hold all of them.
 */
function checkPoints(params: Params, { stored, seen }: Frames): void {
  const frames = seen.orientation >= 5 ? [stored, seen] : [stored]
  const lists = { coordinates: params.coordinates ?? [], remove_coordinates: params.removeCoordinates ?? [] }
  const points = Object.entries(lists).flatMap(([field, list]) =>
    list.map((point, index) => ({ point, name: `${field}: point ${index + 1}, [${point.join(',')}]` })),
  )
  const outside = frames.map(frame => points.filter(({ point }) => !isInside(point, frame)))
  if (outside.some(({ length }) => length === 0)) return
  const accepted = frames.map(formatSize).join(' pixels, or with EXIF rotation ')
  const always = points.find(each => outside.every(list => list.includes(each)))
  if (always) throw outsideImage(`${always.name}, is outside the image, which is ${accepted} pixels.`)
  const [one, other] = outside.map(([first]) => first?.name)
  throw outsideImage(
    `${one}, and ${other}, are in different frames. The image is ${accepted} pixels: count all points in one of them.`,
  )
}

function outsideImage(detail: string): GatewayError {
  return new GatewayError('invalid_parameter', detail)
}

function isInside([x, y]: Point, { width, height }: Size): boolean {
  return x < width && y < height
}

function formatSize({ width, height }: Size): string {
  return `${width}×${height}`
}
