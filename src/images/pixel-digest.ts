import { createHash } from 'node:crypto'
import sharp from 'sharp'
import type { ImageBytes, PixelDigest } from '../contracts/types.js'
import { joinChunks } from './byte-collector.js'

/** Images that may wait to be decoded. Further images get no digest. */
const MAX_WAITING = 8

/**
 * Creates the digest of an image's decoded pixels: SHA-256 over 8-bit sRGB with alpha. The same
 * picture gets the same digest in every encoding. EXIF orientation is not applied, since points are
 * counted in stored pixels. Decodes one image at a time, off the event loop, at 4 bytes a pixel.
 * Resolves to undefined if the image cannot be decoded or too many wait. Never rejects.
 */
export function createPixelDigest({ maxPixels }: { maxPixels: number }) {
  let last: Promise<unknown> = Promise.resolve()
  let waiting = 0
  return async (image: ImageBytes): Promise<PixelDigest | undefined> => {
    if (waiting >= MAX_WAITING) return undefined
    waiting++
    const digest = last.then(() => digestOf(image, maxPixels))
    last = digest
    return digest.finally(() => waiting--)
  }
}

async function digestOf(image: ImageBytes, maxPixels: number): Promise<PixelDigest | undefined> {
  try {
    const bytes = joinChunks(image)
    const { data, info } = await sharp(bytes, { limitInputPixels: maxPixels, sequentialRead: true, failOn: 'error' })
      .toColourspace('srgb')
      .ensureAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    return { width: info.width, height: info.height, sha256: createHash('sha256').update(data).digest('hex') }
  } catch {
    // The header passed the check, so the image goes to Segmind, which reports broken pixels
    // itself.
    return undefined
  }
}
