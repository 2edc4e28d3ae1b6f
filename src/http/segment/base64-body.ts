import { nextSlice } from '../../contracts/event-loop.js'

/** Divisible by 3, so that only the last slice is padded. */
const SLICE_BYTES = 96 * 1024

/** Returns the length of bytes as base64. */
export function base64Length(bytes: number): number {
  return 4 * Math.ceil(bytes / 3)
}

/**
 * Encodes bytes as base64 in slices, one in an iteration of the event loop. An unread answer holds only
 * one of them, and a hundred large answers hold up no other.
 */
export async function* base64Slices(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
    if (at > 0) await nextSlice()
    yield Buffer.from(bytes.toString('base64', at, at + SLICE_BYTES), 'latin1')
  }
}
