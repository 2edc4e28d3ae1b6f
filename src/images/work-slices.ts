import { setImmediate as yieldToEventLoop } from 'node:timers/promises'

/** Work done before other work gets the event loop, in pixels read: a few milliseconds. */
const PIXELS_PER_SLICE = 500_000

/**
 * Creates a counter of work in slices. `pause` counts work as the number of pixels that take as
 * long, and returns a promise to wait for at the end of a slice.
 */
export function createSlices() {
  let done = 0
  return {
    pause(pixels: number): Promise<void> | undefined {
      done += pixels
      if (done < PIXELS_PER_SLICE) return undefined
      done = 0
      return yieldToEventLoop()
    },
  }
}

export type Slices = ReturnType<typeof createSlices>

/** Processes pixels in slices. */
export async function inSlices(pixels: number, process: (start: number, end: number) => void): Promise<void> {
  for (let start = 0; start < pixels; start += PIXELS_PER_SLICE) {
    const end = Math.min(pixels, start + PIXELS_PER_SLICE)
    process(start, end)
    if (end < pixels) await yieldToEventLoop()
  }
}
