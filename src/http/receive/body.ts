import type { Readable } from 'node:stream'
import { GatewayError } from '../../contracts/errors.js'
import { nextSlice } from '../../contracts/event-loop.js'

const NOTHING = Buffer.alloc(0)
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
 * has arrived, because a declared length may be a promise that is never kept. Rejects with
 * `tooLarge()` and leaves the rest unread; rejects with `invalid_request` when the body is cut off.
 */
export function receiveBody(stream: Readable, limits: BodyLimits): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const received = new ReceivedBody(limits)
    const onData = (chunk: Buffer) => {
      try {
        received.add(chunk)
      } catch (error) {
        // The stream stays open: its connection carries the refusal.
        stream.off('data', onData).pause()
        received.take()
        return reject(error)
      }
      if (received.isComplete) return
      // Otherwise libuv reads up to 2 MiB of this socket before it comes to the next one.
      stream.pause()
      void nextSlice().then(() => stream.resume())
    }
    const onCut = (cause?: unknown) => {
      if (stream.readableEnded) return
      reject(new GatewayError('invalid_request', 'The body was cut off before its end.', { cause }))
    }
    if (stream.destroyed) onCut()
    stream.on('data', onData).on('error', onCut).on('close', onCut)
    stream.on('end', () => resolve(received.take()))
  })
}

class ReceivedBody {
  readonly #limits: BodyLimits
  #buffer: Buffer = NOTHING
  #length = 0

  constructor(limits: BodyLimits) {
    this.#limits = limits
  }

  get isComplete(): boolean {
    const { declaredBytes, maxBytes } = this.#limits
    return this.#length >= (declaredBytes ?? maxBytes)
  }

  add(chunk: Buffer): void {
    const { declaredBytes, maxBytes, onBytes, tooLarge } = this.#limits
    const needed = this.#length + chunk.length
    if (needed > maxBytes) throw tooLarge()
    onBytes?.(chunk.length)
    // A body in one chunk needs no copy.
    if (chunk.length === declaredBytes) this.#buffer = chunk
    else {
      if (needed > this.#buffer.length) this.#grow(needed)
      chunk.copy(this.#buffer, this.#length)
    }
    this.#length = needed
  }

  /** Returns the bytes, and keeps them no longer than the caller does, whatever the stream keeps. */
  take(): Buffer {
    const bytes = this.#buffer.subarray(0, this.#length)
    this.#buffer = NOTHING
    return bytes
  }

  #grow(needed: number): void {
    const { declaredBytes, maxBytes } = this.#limits
    const wanted =
      this.#length === 0
        ? Math.min(declaredBytes ?? INITIAL_BYTES, INITIAL_BYTES, maxBytes)
        : Math.min(GROWTH * needed, declaredBytes ?? 2 * needed, maxBytes)
    const larger = Buffer.allocUnsafeSlow(Math.max(wanted, needed))
    this.#buffer.copy(larger, 0, 0, this.#length)
    this.#buffer = larger
  }
}
