import { setImmediate as yieldToEventLoop } from 'node:timers/promises'

/** Work done before other work gets the event loop, in pixels read: a few milliseconds. */
const PIXELS_PER_SLICE = 500_000

/**
 * Creates a counter of work in slices. `pause` counts work as the number of pixels that take as long, and
 * returns a promise to wait for at the end of a slice.
 */
export function createSlices(pixelsPerSlice = PIXELS_PER_SLICE) {
  let done = 0
  return {
    pause(pixels: number): Promise<void> | undefined {
      done += pixels
      if (done < pixelsPerSlice) return undefined
      done = 0
      return yieldToEventLoop()
    },
  }
}

export type Slices = ReturnType<typeof createSlices>
