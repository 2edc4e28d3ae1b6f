import { GatewayError } from '../contracts/errors.js'
import type { ImageBytes, ImageType } from '../contracts/types.js'
import type { CollectedBytes } from './byte-collector.js'
import { otherFormatOf } from './other-formats.js'

/** Enough for the magic bytes of any format that is named. */
const MAX_HEAD_BYTES = 64
const PNG_MAGIC = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
const JPEG_MAGIC = Buffer.from([0xff, 0xd8, 0xff])

/**
 * Detects the type of an image by its first bytes, regardless of its name and declared type.
 * Returns undefined for anything but JPEG, PNG and WebP.
 */
export function imageTypeOf(chunks: readonly Buffer[]): ImageType | undefined {
  const head = headOf(chunks)
  if (head.subarray(0, JPEG_MAGIC.length).equals(JPEG_MAGIC)) return 'jpeg'
  if (head.subarray(0, PNG_MAGIC.length).equals(PNG_MAGIC)) return 'png'
  if (head.toString('latin1', 0, 4) === 'RIFF' && head.toString('latin1', 8, 12) === 'WEBP') return 'webp'
  return undefined
}

function headOf(chunks: readonly Buffer[]): Buffer {
  const heads = chunks.slice(0, MAX_HEAD_BYTES).map(chunk => chunk.subarray(0, MAX_HEAD_BYTES))
  return Buffer.concat(heads).subarray(0, MAX_HEAD_BYTES)
}

/**
 * Adds the type to collected bytes. Throws `unsupported_image`, whose detail begins with `subject`,
 * as in "The file in image".
 */
export function asImage(bytes: CollectedBytes, subject: string): ImageBytes {
  const type = imageTypeOf(bytes.chunks)
  if (type === undefined) {
    throw new GatewayError('unsupported_image', `${subject} is ${otherFormatOf(headOf(bytes.chunks))}.`)
  }
  return { type, ...bytes }
}

export function imageTooLarge(maxImageBytes: number): GatewayError {
  return new GatewayError('image_too_large', `The image is larger than the limit of ${maxImageBytes} bytes.`)
}
