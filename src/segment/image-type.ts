import { GatewayError } from '../errors.js'
import type { CollectedBytes } from './byte-collector.js'
import type { ImageBytes, ImageType } from './types.js'

const LONGEST_MAGIC_BYTES = 12
const PNG_MAGIC = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
const JPEG_MAGIC = Buffer.from([0xff, 0xd8, 0xff])

/** Tells the type of an image by its first bytes, whatever its name or declared type says; `undefined` for anything but JPEG, PNG and WebP. */
export function imageTypeOf(chunks: readonly Buffer[]): ImageType | undefined {
  const pieces = chunks.slice(0, LONGEST_MAGIC_BYTES).map(chunk => chunk.subarray(0, LONGEST_MAGIC_BYTES))
  const head = Buffer.concat(pieces)
  if (startsWith(head, JPEG_MAGIC)) return 'jpeg'
  if (startsWith(head, PNG_MAGIC)) return 'png'
  if (head.toString('latin1', 0, 4) === 'RIFF' && head.toString('latin1', 8, 12) === 'WEBP') return 'webp'
  return undefined
}

/** Takes bytes as an image. Throws `unsupported_image`; `subject` begins its sentence ("The file", "The answer of the image URL"). */
export function asImage(bytes: CollectedBytes, subject: string): ImageBytes {
  const type = imageTypeOf(bytes.chunks)
  if (type === undefined) {
    throw new GatewayError(
      'unsupported_image',
      `${subject} is not a JPEG, PNG or WebP: its first bytes are those of none.`,
    )
  }
  return { type, ...bytes }
}

function startsWith(head: Buffer, magic: Buffer): boolean {
  return head.subarray(0, magic.length).equals(magic)
}
