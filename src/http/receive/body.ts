import type { Readable } from 'node:stream'
import { GatewayError } from '../../contracts/errors.js'
import { nextSlice } from '../../contracts/event-loop.js'

const INITIAL_BYTES = 64 * 1024
/** A body that has filled its buffer gets one of this many times its size, up to its declared length. */
const GROWTH = 8

export interface BodyLimits {
  /** `Content-Length`, if present. */
  declaredBytes: number | undefined
  maxBytes: number
  /** Called before bytes that arrived are kept. May throw, which ends the reading. */
  onBytes?(count: number): void
  tooLarge(): GatewayError
}

/**
 * Reads a body into one buffer of the body's size, however small its chunks are. Allocates by what
 * has arrived, because a declared length may be a promise that is never kept. Throws `tooLarge()`
 * and leaves the rest unread; throws `invalid_request` when the body is cut off.
 */
export async function receiveBody(
  stream: Readable,
  { declaredBytes, maxBytes, onBytes, tooLarge }: BodyLimits,
): Promise<Buffer> {
  let buffer: Buffer = Buffer.allocUnsafeSlow(Math.min(declaredBytes ?? INITIAL_BYTES, INITIAL_BYTES, maxBytes))
  let length = 0
  try {
    // Leaving the loop must not destroy the stream: its connection carries the refusal.
    for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      const needed = length + chunk.length
      if (needed > maxBytes) throw tooLarge()
      onBytes?.(chunk.length)
      if (needed > buffer.length) {
        const wanted = Math.min(GROWTH * needed, declaredBytes ?? 2 * needed, maxBytes)
        buffer = grow(buffer, length, Math.max(wanted, needed))
      }
      length += chunk.copy(buffer, length)
      // Otherwise libuv reads up to 2 MiB of this socket before it comes to the next one.
      if (length < (declaredBytes ?? maxBytes)) await nextSlice()
    }
  } catch (error) {
    if (error instanceof GatewayError) throw error
    throw new GatewayError('invalid_request', 'The body was cut off before its end.', { cause: error })
  }
  return buffer.subarray(0, length)
}

function grow(buffer: Buffer, length: number, size: number): Buffer {
  const larger = Buffer.allocUnsafeSlow(size)
  buffer.copy(larger, 0, 0, length)
  return larger
}
