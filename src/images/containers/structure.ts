import type { ImageType, Size } from '../../contracts/types.js'
import { imageTypeOf } from '../image-type.js'
import { readJpeg } from './jpeg.js'
import { readPng } from './png.js'
import { readWebp } from './webp.js'

const READERS = { jpeg: readJpeg, png: readPng, webp: readWebp } as const

/**
 * Returns the stored size of a picture that ends where its format says that it ends; undefined if it is
 * cut off, empty or damaged between its parts. Nothing is decoded, so damaged pixels are not found.
 */
export function wholeSize(type: ImageType, bytes: Buffer): Size | undefined {
  const { isWhole, size } = READERS[type](bytes)
  return isWhole && size && size.width > 0 && size.height > 0 ? size : undefined
}

/** Detects the type of a whole picture, and returns it with its size. */
export function pictureOf(bytes: Buffer): { type: ImageType; size: Size } | undefined {
  const type = imageTypeOf([bytes])
  const size = type && wholeSize(type, bytes)
  return size && { type, size }
}
