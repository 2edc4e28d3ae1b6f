import { type Blob, type BlobStore, StoreError } from '../../contracts/store.js'
import type { RedisConnection } from './connection.js'

export interface RedisBlobsOptions {
  connection: RedisConnection
  /** Prefix of every key. */
  prefix: string
  onProblem(error: unknown, what: string): void
}

/**
 * Creates blobs as plain values that expire, so that `volatile-lru` may evict them: one round trip
 * per operation. A value in another format is reported and counts as a miss. The next `put`
 * replaces it.
 */
export function createBlobs({ connection, prefix, onProblem }: RedisBlobsOptions): BlobStore {
  const toRedisKey = (key: string): string => `${prefix}:${key}`
  return {
    async get(key) {
      const value = await connection.run(redis => redis.getBuffer(toRedisKey(key)))
      if (!value) return undefined
      const blob = decode(value)
      if (!blob) onProblem(new StoreError('a value in Redis was not written by this gateway'), 'blob')
      return blob
    },
    async put(key, blob, ttlSeconds) {
      const ttlMs = Math.ceil(ttlSeconds * 1000)
      if (ttlMs <= 0) await connection.run(redis => redis.del(toRedisKey(key)))
      else await connection.run(redis => redis.set(toRedisKey(key), encode(blob), 'PX', ttlMs))
    },
    async has(key) {
      return (await connection.run(redis => redis.exists(toRedisKey(key)))) === 1
    },
    async delete(key) {
      return (await connection.run(redis => redis.del(toRedisKey(key)))) === 1
    },
    async clear() {
      let cleared = 0
      let cursor = '0'
      do {
        const [next, keys] = await connection.run(redis =>
          redis.scan(cursor, 'MATCH', toRedisKey('*'), 'COUNT', SCAN_BATCH),
        )
        if (keys.length > 0) cleared += await connection.run(redis => redis.unlink(keys))
        cursor = next
      } while (cursor !== '0')
      return cleared
    },
  }
}

/** Keys scanned in one step. Redis serves no other command during a step. */
const SCAN_BATCH = 1_000

/** First byte of every value: version 1 of the format. */
const FORMAT = 0xb1
const HEAD_BYTES = 5

/** Encodes a value: format byte, length of the description (32 bits), description, body. */
function encode({ meta, body }: Blob): Buffer {
  const description = Buffer.from(meta)
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt8(FORMAT, 0)
  head.writeUInt32BE(description.length, 1)
  return Buffer.concat([head, description, body])
}

function decode(value: Buffer): Blob | undefined {
  if (value.length < HEAD_BYTES || value[0] !== FORMAT) return undefined
  const bodyStart = HEAD_BYTES + value.readUInt32BE(1)
  if (bodyStart > value.length) return undefined
  return { meta: value.toString('utf8', HEAD_BYTES, bodyStart), body: value.subarray(bodyStart) }
}
