import type { MaskFacts } from '../contracts/types.js'
import { createSlices } from './work-slices.js'

/** One byte a pixel, row by row. A pixel of 128 or more is selected. */
export interface GreyPixels {
  width: number
  height: number
  data: Uint8Array
}

/** A mask in COCO's run-length encoding, with its box and area. */
export interface EncodedMask extends MaskFacts {
  width: number
  height: number
  counts: string
}

const INITIAL_TEXT_BYTES = 4_096
/** Longest text of one count: 32 bits in groups of 5. */
const MAX_COUNT_BYTES = 7

/**
 * Encodes a mask as pycocotools does: runs down the columns from left to right, the first run of
 * pixels that are not selected, written as text (`createCountsText`). Box `[0,0,0,0]` and area 0 if
 * nothing is selected.
 */
export async function encodeRle({ width, height, data }: GreyPixels): Promise<EncodedMask> {
  const text = createCountsText()
  const extent = createExtent()
  let selected = 0
  let runStart = 0
  const slices = createSlices()
  for (let x = 0; x < width; x++) {
    for (let y = 0, index = x; y < height; y++, index += width) {
      const value = (data[index] as number) >> 7
      if (value === selected) continue
      const position = x * height + y
      if (selected === 1) extent.add(runStart, position, height)
      text.add(position - runStart)
      runStart = position
      selected = value
    }
    const pause = slices.pause(height)
    if (pause) await pause
  }
  const end = width * height
  if (selected === 1) extent.add(runStart, end, height)
  if (end > 0) text.add(end - runStart)
  return { width, height, counts: text.read(), ...extent.facts() }
}

/** Writes run lengths as COCO's text (`createCountsText`). */
export function encodeCounts(counts: readonly number[]): string {
  const text = createCountsText()
  for (const count of counts) text.add(count)
  return text.read()
}

/**
 * Creates a writer of run lengths in COCO's text form. It takes one at a time, so that the caller
 * can yield in between.
 *
 * - From the fourth on, a run is written as the difference to the run two before it.
 * - A number is cut into groups of 5 bits, lowest first. The last group carries the sign.
 * - 32 is added to every group but the last, and 48 to all of them, which gives the character.
 */
function createCountsText() {
  let bytes = Buffer.allocUnsafe(INITIAL_TEXT_BYTES)
  let length = 0
  let runs = 0
  let [last, lastButOne] = [0, 0]
  return {
    add(count: number): void {
      if (bytes.length - length < MAX_COUNT_BYTES) bytes = Buffer.concat([bytes], bytes.length * 2)
      let rest = runs > 2 ? count - lastButOne : count
      for (let isMore = true; isMore; ) {
        const group = rest & 31
        rest >>= 5
        isMore = group & 16 ? rest !== -1 : rest !== 0
        bytes[length++] = 48 + group + (isMore ? 32 : 0)
      }
      lastButOne = last
      last = count
      runs++
    },
    read(): string {
      return bytes.toString('latin1', 0, length)
    },
  }
}

/**
 * Computes box and area of selected runs. A run is given by its start and end (exclusive), down the
 * columns.
 */
function createExtent() {
  let [left, top, right, bottom, area] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, -1, -1, 0]
  return {
    add(start: number, end: number, height: number): void {
      const [first, last] = [Math.floor(start / height), Math.floor((end - 1) / height)]
      const isOneColumn = first === last
      left = Math.min(left, first)
      right = Math.max(right, last)
      top = Math.min(top, isOneColumn ? start % height : 0)
      bottom = Math.max(bottom, isOneColumn ? (end - 1) % height : height - 1)
      area += end - start
    },
    facts(): MaskFacts {
      return { bbox: area === 0 ? [0, 0, 0, 0] : [left, top, right - left + 1, bottom - top + 1], area }
    },
  }
}
