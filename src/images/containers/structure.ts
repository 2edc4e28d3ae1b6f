import type { ImageType, Size } from '../../contracts/types.js'
import { imageTypeOf } from '../image-type.js'
import { readJpeg } from './jpeg.js'
import { readPng } from './png.js'
import { readWebp } from './webp.js'

const READERS = { jpeg: readJpeg, png: readPng, webp: readWebp } as const

/** Start of a JPEG, and of its first segment. */
const JPEG_START = Buffer.from([0xff, 0xd8, 0xff])

/**
 * Returns the stored size of a picture that ends where its format says that it ends; undefined if
 * it is cut off, empty or damaged between its parts. Nothing is decoded, so damaged pixels are not
 * found.
 */
export function wholeSize(type: ImageType, bytes: Buffer): Size | undefined {
  const { isWhole, size, end } = READERS[type](bytes)
  if (!isWhole || !size || size.width === 0 || size.height === 0) return undefined
  return type !== 'jpeg' || areWholeBehind(bytes, end) ? size : undefined
}

/** Reads the pictures right behind the first one: other views (MPO), or a gain map. */
function areWholeBehind(bytes: Buffer, end: number): boolean {
  let rest = bytes.subarray(end)
  while (rest.subarray(0, JPEG_START.length).equals(JPEG_START)) {
    const behind = readJpeg(rest)
    if (!behind.isWhole) return false
    rest = rest.subarray(behind.end)
  }
  return true
}

/** Detects the type of a whole picture, and returns it with its size. */
export function pictureOf(bytes: Buffer): { type: ImageType; size: Size } | undefined {
  const type = imageTypeOf([bytes])
  const size = type && wholeSize(type, bytes)
  return size && { type, size }
}
