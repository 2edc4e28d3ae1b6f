import sharp from 'sharp'
import { GatewayError } from '../contracts/errors.js'
import type { Size } from '../contracts/types.js'
import { isSameSize } from './frame.js'
import type { GreyPixels } from './rle.js'
import { createSlices, inSlices } from './work-slices.js'

/** Distance from black and white that the noise of a JPEG stays within. */
const NOISE = 48
/** Pixels that may be neither: soft edges and the worst of the noise. */
const MAX_GREY_SHARE = 0.2
const MAX_GREY_PIXELS = 16
/**
 * Largest difference of a colour channel from the mean of its area, and the share of pixels beyond
 * it.
 */
const MAX_COLOUR_NOISE = 80
const MAX_STRAY_SHARE = 0.0001
const OPAQUE = 128

/**
 * Decodes a mask to one byte a pixel, 255 for selected, scaled to `size` by the nearest pixel.
 * Reads white on black, one colour on black, two levels of which one is 0 (such as 0 and 1), and
 * one colour on transparency. Throws `upstream_failed`, not retryable, for any other picture.
 */
export async function readMask(mask: Buffer, { maxPixels, size }: { maxPixels: number; size?: Size | undefined }) {
  const samples = await decode(mask, maxPixels).catch((cause: unknown) => {
    throw notAMask('it cannot be decoded', cause)
  })
  const grey = samples.channels === 1 ? samples.data : await toGrey(samples)
  const { width, height } = samples
  const data = await toBlackAndWhite(grey, samples)
  return size ? scale({ width, height, data }, size) : { width, height, data }
}

/**
 * Builds the error of a paid picture that is no mask. `reason` continues "Segmind's answer is no
 * mask: ".
 */
export function notAMask(reason: string, cause?: unknown): GatewayError {
  return new GatewayError('upstream_failed', `Segmind's answer is no mask of this photo: ${reason}.`, {
    retryable: false,
    cause,
  })
}

/** Builds the error of a mask whose aspect ratio is not that of its photo. */
export function otherShape(mask: Size, photo: Size): GatewayError {
  const [maskSize, photoSize] = [mask, photo].map(({ width, height }) => `${width}×${height}`)
  return notAMask(`it is ${maskSize} pixels and the photo ${photoSize}`)
}

interface Samples extends Size {
  data: Uint8Array | Uint16Array
  channels: number
  /** The last channel is alpha. */
  alpha: boolean
  /** Value of white: 255 or 65,535. */
  white: number
  isLossy: boolean
}

/** Decodes a picture to grey or colour, with alpha if it has any. */
async function decode(mask: Buffer, maxPixels: number): Promise<Samples> {
  const picture = sharp(mask, { limitInputPixels: maxPixels, failOn: 'error' })
  const { channels: stored, depth, format, hasAlpha } = await picture.metadata()
  const [isDeep, isGrey] = [depth === 'ushort', stored <= 2]
  const space = isGrey ? (isDeep ? 'grey16' : 'b-w') : isDeep ? 'rgb16' : 'srgb'
  const { data, info } = await picture
    .toColourspace(space)
    .raw({ depth: isDeep ? 'ushort' : 'uchar' })
    .toBuffer({ resolveWithObject: true })
  const { width, height, channels } = info
  const values = isDeep ? new Uint16Array(data.buffer, data.byteOffset, data.length / 2) : data
  const white = isDeep ? 65_535 : 255
  return { data: values, width, height, channels, alpha: hasAlpha, white, isLossy: format === 'jpeg' }
}

/** Reduces coloured pixels to one value each: the alpha of one colour, else the largest channel. */
async function toGrey(samples: Samples): Promise<Samples['data']> {
  const { data, channels, alpha, white } = samples
  const opacity = alpha ? await alphaOf(samples) : undefined
  if (opacity && (await isOneColour(samples, opacity, (OPAQUE * white) / 255))) return opacity
  const grey = emptyLike(samples)
  const [second, third] = colourOffsets(samples)
  let brightest = 0
  let isColoured = false
  await inSlices(grey.length, (start, end) => {
    for (let pixel = start, at = start * channels; pixel < end; pixel++, at += channels) {
      const [one, two, three] = [data[at] as number, data[at + second] as number, data[at + third] as number]
      const high = Math.max(one, two, three)
      if ((high - Math.min(one, two, three)) * 255 > NOISE * white) isColoured = true
      const value = opacity ? (high * (opacity[pixel] as number)) / white : high
      if (value > brightest) brightest = value
      grey[pixel] = value
    }
  })
  if (isColoured && !(await isOneColour(samples, grey, brightest * (1 - NOISE / 255))))
    throw notAMask('it has more than one colour beside black')
  return grey
}

function emptyLike({ width, height, white }: Samples): Samples['data'] {
  return white > 255 ? new Uint16Array(width * height) : new Uint8Array(width * height)
}

/** Positions of the second and third colour beside the first; 0 for a picture without them. */
function colourOffsets({ channels, alpha }: Samples): [number, number] {
  return channels - (alpha ? 1 : 0) === 3 ? [1, 2] : [0, 0]
}

/** Returns the last channel; undefined if every pixel is opaque. */
async function alphaOf(samples: Samples): Promise<Samples['data'] | undefined> {
  const { data, channels, white } = samples
  const alpha = emptyLike(samples)
  let opaque = 0
  await inSlices(alpha.length, (start, end) => {
    for (let pixel = start, at = (start + 1) * channels - 1; pixel < end; pixel++, at += channels) {
      const value = data[at] as number
      alpha[pixel] = value
      if (value * 255 >= OPAQUE * white) opaque++
    }
  })
  return opaque === alpha.length ? undefined : alpha
}

/** Returns whether all pixels with at least a `level` have the same colour, but for noise. */
async function isOneColour(samples: Samples, levels: Samples['data'], level: number): Promise<boolean> {
  const { data, channels, white } = samples
  const [second, third] = colourOffsets(samples)
  const total = { meant: 0, one: 0, two: 0, three: 0, strays: 0 }
  await inSlices(levels.length, (start, end) => {
    // V8 allocates a number for each change of a sum outside of this function.
    let [meant, one, two, three] = [0, 0, 0, 0]
    for (let pixel = start, at = start * channels; pixel < end; pixel++, at += channels) {
      if ((levels[pixel] as number) < level) continue
      meant++
      one += data[at] as number
      two += data[at + second] as number
      three += data[at + third] as number
    }
    total.meant += meant
    total.one += one
    total.two += two
    total.three += three
  })
  const [meanOne, meanTwo, meanThree] = [total.one / total.meant, total.two / total.meant, total.three / total.meant]
  const limit = (MAX_COLOUR_NOISE * white) / 255
  await inSlices(levels.length, (start, end) => {
    for (let pixel = start, at = start * channels; pixel < end; pixel++, at += channels) {
      if ((levels[pixel] as number) < level) continue
      const most = Math.max(
        Math.abs((data[at] as number) - meanOne),
        Math.abs((data[at + second] as number) - meanTwo),
        Math.abs((data[at + third] as number) - meanThree),
      )
      if (most > limit) total.strays++
    }
  })
  return total.strays <= total.meant * MAX_STRAY_SHARE
}

/**
 * Checks that pixels are black and white, and returns them as bytes. Two levels stand for black and
 * white, whatever the higher one is, unless compression may have changed them.
 */
async function toBlackAndWhite(grey: Samples['data'], { white, isLossy }: Samples): Promise<Uint8Array> {
  const [black, bright] = [(NOISE * white) / 255, ((255 - NOISE) * white) / 255]
  let [whitePixels, greyPixels, highest, hasThird] = [0, 0, 0, false]
  await inSlices(grey.length, (start, end) => {
    for (let pixel = start; pixel < end; pixel++) {
      const value = grey[pixel] as number
      if (value > bright) whitePixels++
      else if (value >= black) greyPixels++
      if (value === 0 || value === highest) continue
      if (highest === 0) highest = value
      else hasThird = true
    }
  })
  if (highest === 0) return new Uint8Array(grey.length)
  if (!hasThird && !isLossy && grey.includes(0)) return toBytes(grey, highest)
  if (whitePixels === 0) throw notAMask('it is not black, and has no white pixels')
  if (greyPixels > Math.max(grey.length * MAX_GREY_SHARE, MAX_GREY_PIXELS)) throw notAMask('it is not black and white')
  return toBytes(grey, white)
}

/** Stretches values so that `highest` is 255. */
async function toBytes(grey: Samples['data'], highest: number): Promise<Uint8Array> {
  if (grey instanceof Uint8Array && highest === 255) return grey
  const bytes = new Uint8Array(grey.length)
  await inSlices(grey.length, (start, end) => {
    for (let pixel = start; pixel < end; pixel++) bytes[pixel] = Math.round(((grey[pixel] as number) * 255) / highest)
  })
  return bytes
}

/** Scales pixels to another size by the nearest one. */
async function scale(pixels: GreyPixels, size: Size): Promise<GreyPixels> {
  if (isSameSize(pixels, size)) return pixels
  const { width, height } = size
  const data = new Uint8Array(width * height)
  const columns = Uint32Array.from({ length: width }, (_, x) => Math.floor(((x + 0.5) * pixels.width) / width))
  const slices = createSlices()
  for (let y = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * pixels.height) / height) * pixels.width
    for (let x = 0; x < width; x++) data[y * width + x] = pixels.data[row + (columns[x] as number)] as number
    const pause = slices.pause(width)
    if (pause) await pause
  }
  return { width, height, data }
}
