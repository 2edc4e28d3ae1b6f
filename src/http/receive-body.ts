import type { Readable } from 'node:stream'
import { GatewayError } from '../errors.js'

const FIRST_BYTES = 64 * 1024

export interface BodyLimits {
  /** What `Content-Length` says, if it is there. */
  declaredBytes: number | undefined
  maxBytes: number
  tooLarge(): GatewayError
}

/**
 * Reads a body into one buffer of its own, so that it takes its own size and no more, however small the pieces it comes in. Throws
 * `tooLarge()`, and leaves the rest unread; throws `invalid_request` when the body is cut off.
 */
export async function receiveBody(
  stream: Readable,
  { declaredBytes, maxBytes, tooLarge }: BodyLimits,
): Promise<Buffer> {
  let buffer: Buffer = Buffer.allocUnsafeSlow(Math.min(declaredBytes ?? FIRST_BYTES, maxBytes))
  let length = 0
  try {
    // Leaving the loop must not destroy the stream, and with it the connection that the refusal goes out on.
    for await (const piece of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      if (length + piece.length > maxBytes) throw tooLarge()
      if (length + piece.length > buffer.length) buffer = grown(buffer, length, piece.length, maxBytes)
      length += piece.copy(buffer, length)
    }
  } catch (error) {
    if (error instanceof GatewayError) throw error
    throw new GatewayError('invalid_request', 'The body was cut off before its end.', { cause: error })
  }
  return buffer.subarray(0, length)
}

function grown(buffer: Buffer, length: number, more: number, maxBytes: number): Buffer {
  const larger = Buffer.allocUnsafeSlow(Math.min(maxBytes, Math.max(2 * buffer.length, length + more)))
  buffer.copy(larger, 0, 0, length)
  return larger
}
