import { type Blob, type BlobStore, StoreError } from '../../storage.js'
import type { Connection } from './connection.js'

export interface BlobsOptions {
  connection: Connection
  /** Every key begins with it. */
  prefix: string
  onProblem(error: unknown, what: string): void
}

/**
 * Blobs as plain values that expire, so that `volatile-lru` may evict them: one round trip each way.
 * A value that is not one of ours is reported and counts as a miss: the next `put` replaces it.
 */
export function createBlobs({ connection, prefix, onProblem }: BlobsOptions): BlobStore {
  const name = (key: string): string => `${prefix}:${key}`
  return {
    async get(key) {
      const value = await connection.run(redis => redis.getBuffer(name(key)))
      if (!value) return undefined
      const blob = decode(value)
      if (!blob) onProblem(new StoreError('a value in Redis is not one of this gateway'), 'blob')
      return blob
    },
    async put(key, blob, ttlSeconds) {
      const ttlMs = Math.ceil(ttlSeconds * 1000)
      if (ttlMs <= 0) await connection.run(redis => redis.del(name(key)))
      else await connection.run(redis => redis.set(name(key), encode(blob), 'PX', ttlMs))
    },
    async has(key) {
      return (await connection.run(redis => redis.exists(name(key)))) === 1
    },
    async delete(key) {
      return (await connection.run(redis => redis.del(name(key)))) === 1
    },
    async clear() {
      let cleared = 0
      let cursor = '0'
      do {
        const [next, names] = await connection.run(redis => redis.scan(cursor, 'MATCH', name('*'), 'COUNT', SCAN_BATCH))
        if (names.length > 0) cleared += await connection.run(redis => redis.unlink(names))
        cursor = next
      } while (cursor !== '0')
      return cleared
    },
  }
}

/** How many keys Redis looks at in one step: it does nothing else meanwhile. */
const SCAN_BATCH = 1_000

/** The first byte of every value: version 1 of this form. */
const FORM = 0xb1
const HEAD_BYTES = 5

/** One value: a byte for the form, the length of the description (32 bits), the description, the body. */
function encode({ meta, body }: Blob): Buffer {
  const description = Buffer.from(meta)
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt8(FORM, 0)
  head.writeUInt32BE(description.length, 1)
  return Buffer.concat([head, description, body])
}

function decode(value: Buffer): Blob | undefined {
  if (value.length < HEAD_BYTES || value[0] !== FORM) return undefined
  const bodyAt = HEAD_BYTES + value.readUInt32BE(1)
  if (bodyAt > value.length) return undefined
  return { meta: value.toString('utf8', HEAD_BYTES, bodyAt), body: value.subarray(bodyAt) }
}
