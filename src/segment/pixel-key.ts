import { createHash } from 'node:crypto'
import sharp from 'sharp'
import { canonicalParams } from './cache-key.js'
import type { PixelKeyOf } from './ports.js'
import type { ImageBytes, Params } from './types.js'

/** Pictures that wait to be decoded; more are not looked at. */
const MAX_WAITING = 8
const VERSION = 'p1'

/**
 * Names questions by their decoded pixels: SHA-256 over size, sRGB pixels of 8 bits with alpha, and the canonical parameters, so that the same
 * picture under other bytes gets the same name. EXIF is not applied: points are counted in pixels as stored. One picture at a time is
 * decoded, outside of the event loop; it takes 4 bytes a pixel meanwhile.
 */
export function createPixelKey({ maxPixels }: { maxPixels: number }): PixelKeyOf {
  let last: Promise<unknown> = Promise.resolve()
  let waiting = 0
  return async (image, params, scope) => {
    if (waiting >= MAX_WAITING) return undefined
    waiting++
    const key = last.then(() => keyOf(image, params, { scope, maxPixels }))
    last = key
    return key.finally(() => waiting--)
  }
}

async function keyOf(
  image: ImageBytes,
  params: Params,
  { scope, maxPixels }: { scope: string; maxPixels: number },
): Promise<string | undefined> {
  try {
    const bytes = image.chunks.length === 1 && image.chunks[0] ? image.chunks[0] : Buffer.concat(image.chunks)
    const { data, info } = await sharp(bytes, { limitInputPixels: maxPixels, sequentialRead: true, failOn: 'error' })
      .toColourspace('srgb')
      .ensureAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    const pixels = createHash('sha256').update(data).digest('hex')
    const question = [VERSION, scope, info.width, info.height, pixels, ...canonicalParams(params)]
    return createHash('sha256').update(JSON.stringify(question)).digest('hex')
  } catch {
    // Its header was fine and Segmind has it: what is wrong with its pixels is not for the gateway to say.
    return undefined
  }
}
