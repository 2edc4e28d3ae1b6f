import type { ImageType, Size } from '../../contracts/types.js'
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
