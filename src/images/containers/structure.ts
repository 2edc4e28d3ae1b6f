import type { ImageType } from '../../contracts/types.js'
import { readJpeg } from './jpeg.js'
import { readPng } from './png.js'
import { readWebp } from './webp.js'

const READERS = { jpeg: readJpeg, png: readPng, webp: readWebp } as const

/**
 * Tells whether a file ends where its format says that it ends. Nothing is decoded, so a picture with
 * damaged pixels is whole.
 */
export function isWhole(type: ImageType, bytes: Buffer): boolean {
  return READERS[type](bytes).isWhole
}
