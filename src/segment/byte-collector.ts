import { createHash } from 'node:crypto'
import type { Digest } from './types.js'

/** Bytes that arrived in pieces, and the SHA-256 of them all. */
export interface CollectedBytes {
  chunks: readonly Buffer[]
  byteLength: number
  digest: Digest
}

export interface ByteCollector {
  /** Takes the next piece; the collector may keep it, so the caller must not write to it again. */
  add(piece: Buffer): void
  byteLength(): number
  /** Ends the collection; call it once. */
  finish(): CollectedBytes
}

const BLOCK_BYTES = 64 * 1024
const SMALL_BYTES = BLOCK_BYTES / 4

/**
 * Keeps pieces as they come and hashes them in the same pass, never joining what is already large.
 * Small pieces are copied together: a body sent one byte at a time would otherwise cost a hundred times its size in objects.
 */
export function createByteCollector(): ByteCollector {
  const hash = createHash('sha256')
  const chunks: Buffer[] = []
  let byteLength = 0
  let block = Buffer.alloc(0)
  let used = 0

  const keep = (bytes: Buffer): void => {
    hash.update(bytes)
    chunks.push(bytes)
  }
  const flush = (): void => {
    if (used > 0) keep(block.subarray(0, used))
    block = block.subarray(used)
    used = 0
  }
  const copy = (piece: Buffer): void => {
    if (used + piece.length > block.length) {
      flush()
      block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
    }
    used += piece.copy(block, used)
  }

  return {
    add: piece => {
      byteLength += piece.length
      if (piece.length < SMALL_BYTES) return copy(piece)
      flush()
      keep(piece)
    },
    byteLength: () => byteLength,
    finish: () => {
      flush()
      return { chunks, byteLength, digest: hash.digest('hex') }
    },
  }
}

/** Collects bytes that are all there already. */
export function collectBytes(bytes: Buffer): CollectedBytes {
  const collector = createByteCollector()
  collector.add(bytes)
  return collector.finish()
}
