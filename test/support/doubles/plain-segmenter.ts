import { crc32 } from 'node:zlib'
import sharp from 'sharp'
import type { Segmenter } from '../../../src/sandbox/segmenter.js'

/**
 * Returns a mask that does not depend on the photo: a band on the left whose width is a hash of the
 * selection. Takes a few milliseconds; the real segmenter takes a second.
 */
export function createPlainSegmenter(): Segmenter {
  return {
    async segment({ image, ...selection }) {
      const size = await sharp(image)
        .metadata()
        .catch(() => undefined)
      if (!size) return { kind: 'refused', message: 'image could not be decoded' }
      const { width, height } = size.autoOrient
      if ([...selection.points, ...selection.removed].some(([x, y]) => x > width || y > height))
        return { kind: 'refused', message: 'a point is outside the image' }
      const share = 0.2 + (crc32(JSON.stringify(selection)) % 1000) / 2000
      const band = { create: { width: Math.ceil(share * width), height, channels: 3, background: 'white' } } as const
      const jpeg = await sharp({ create: { width, height, channels: 3, background: 'black' } })
        .composite([{ input: band, left: 0, top: 0 }])
        .jpeg()
        .toBuffer()
      return { kind: 'answered', jpeg, width, height }
    },
    close: async () => {},
  }
}
