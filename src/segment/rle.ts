import { setImmediate as turn } from 'node:timers/promises'
import type { MaskFacts } from './types.js'

/** One byte a pixel, row by row; a pixel is selected from 128 on. */
export interface GreyPixels {
  width: number
  height: number
  data: Uint8Array
}

/** A mask in COCO's run-length encoding, and what it comes to. */
export interface EncodedMask extends MaskFacts {
  width: number
  height: number
  counts: string
}

/** After so many pixels others get their turn: about 15 ms. */
const PIXELS_A_TURN = 2_000_000
const FIRST_TEXT_BYTES = 4_096
/** The most that one count takes: 32 bits in groups of 5. */
const BYTES_A_COUNT = 7

/**
 * Encodes a mask as pycocotools does: runs down the columns, from the left one on, the first one of pixels that are not selected, written as text
 * (`countsText`). Box `[0,0,0,0]` and area 0 where nothing is selected.
 */
export async function encodeRle({ width, height, data }: GreyPixels): Promise<EncodedMask> {
  const text = createCountsText()
  const extent = createExtent()
  let isInside = 0
  let runStart = 0
  let seen = 0
  for (let x = 0; x < width; x++) {
    for (let y = 0, at = x; y < height; y++, at += width) {
      const value = (data[at] as number) >> 7
      if (value === isInside) continue
      const place = x * height + y
      if (isInside === 1) extent.add(runStart, place, height)
      text.add(place - runStart)
      runStart = place
      isInside = value
    }
    seen += height
    if (seen >= PIXELS_A_TURN) {
      seen = 0
      await turn()
    }
  }
  const end = width * height
  if (isInside === 1) extent.add(runStart, end, height)
  if (end > 0) text.add(end - runStart)
  return { width, height, counts: text.read(), ...extent.facts() }
}

/** Writes run lengths as COCO's text (`createCountsText`). */
export function countsText(counts: readonly number[]): string {
  const text = createCountsText()
  for (const count of counts) text.add(count)
  return text.read()
}

/**
 * Writes run lengths as COCO's text, one at a time and so as part of the caller's turns: from the fourth on, each is told by its difference to
 * the one two before it; a number is cut into groups of 5 bits, lowest first, the sign in the last one, with 32 added where more follow, each
 * written as the character 48 above.
 */
function createCountsText() {
  let bytes = Buffer.allocUnsafe(FIRST_TEXT_BYTES)
  let length = 0
  let seen = 0
  let [last, lastButOne] = [0, 0]
  return {
    add(count: number): void {
      if (bytes.length - length < BYTES_A_COUNT) bytes = Buffer.concat([bytes], bytes.length * 2)
      let rest = seen > 2 ? count - lastButOne : count
      for (let isMore = true; isMore; ) {
        const group = rest & 31
        rest >>= 5
        isMore = group & 16 ? rest !== -1 : rest !== 0
        bytes[length++] = 48 + group + (isMore ? 32 : 0)
      }
      lastButOne = last
      last = count
      seen++
    },
    read(): string {
      return bytes.toString('latin1', 0, length)
    },
  }
}

/** What the selected runs cover, each given by its first place and the one after its last, down the columns. */
function createExtent() {
  let [left, top, right, bottom, area] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, -1, -1, 0]
  return {
    add(from: number, to: number, height: number): void {
      const [first, last] = [Math.floor(from / height), Math.floor((to - 1) / height)]
      const isOneColumn = first === last
      left = Math.min(left, first)
      right = Math.max(right, last)
      top = Math.min(top, isOneColumn ? from % height : 0)
      bottom = Math.max(bottom, isOneColumn ? (to - 1) % height : height - 1)
      area += to - from
    },
    facts(): MaskFacts {
      return { bbox: area === 0 ? [0, 0, 0, 0] : [left, top, right - left + 1, bottom - top + 1], area }
    },
  }
}
