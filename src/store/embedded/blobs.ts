import type { Clock } from '../../contracts/clock.js'
import { type BlobStore, StoreError } from '../../contracts/store.js'
import { type BlobIndex, diskBytesOf } from './blob-index.js'
import type { Environment } from './environment.js'

export interface EmbeddedBlobsOptions {
  environment: Environment
  index: BlobIndex
  /** Bound of all blobs together. */
  maxBytes: number
  /**
   * Returns whether the blobs may take more of the disk. While not, new ones replace older ones within
   * the largest size that they ever had together.
   */
  hasRoom(): boolean
  /** Age of the recorded time of use from which a read renews it. */
  touchAfterMs: number
  now: Clock
  onProblem(error: unknown, what: 'touch' | 'purge' | 'probe' | 'damaged cache'): void
}

/** Blobs deleted in one transaction. */
const PURGE_BATCH = 100
const MAX_KEY_BYTES = 512

/**
 * Creates blobs whose keys begin with `kind:`. They expire, and the least recently used make room
 * for new ones.
 */
export function createBlobs(options: EmbeddedBlobsOptions, kind: string): BlobStore {
  const { environment, index, maxBytes, now } = options
  const toIndexKey = (key: string): string => {
    const indexKey = `${kind}:${key}`
    if (Buffer.byteLength(indexKey) <= MAX_KEY_BYTES && !indexKey.includes('\0')) return indexKey
    throw new StoreError(`the key is longer than ${MAX_KEY_BYTES} bytes or contains a null character`)
  }
  return {
    async get(key) {
      const indexKey = toIndexKey(key)
      const found = environment.read(() => {
        const record = index.find(indexKey, now())
        return record && { record, body: index.readBody(indexKey, record) }
      })
      if (!found) return undefined
      if (now() - found.record.usedAt >= options.touchAfterMs) touch(options, indexKey)
      return { meta: found.record.meta, body: found.body }
    },
    async put(key, blob, ttlSeconds) {
      const indexKey = toIndexKey(key)
      const diskBytes = diskBytesOf(indexKey, blob)
      if (diskBytes > maxBytes)
        throw new StoreError(`a blob of ${blob.body.length} bytes does not fit into a store of ${maxBytes} bytes`)
      await environment.write(() => {
        const limit = options.hasRoom() ? maxBytes : Math.min(maxBytes, index.peakBytes())
        if (ttlSeconds > 0 && diskBytes > limit)
          throw new StoreError('the disk is almost full, and the rest is kept for the ledger')
        index.remove(indexKey)
        if (ttlSeconds <= 0) return
        const usedAt = now()
        while (index.size().bytes + diskBytes > limit) {
          const victim = index.nextVictim(usedAt, true)
          if (victim === undefined) break
          index.remove(victim)
        }
        index.add(indexKey, blob, { diskBytes, usedAt, expiresAt: usedAt + Math.ceil(ttlSeconds * 1000) })
      })
    },
    async has(key) {
      return environment.read(() => index.find(toIndexKey(key), now()) !== undefined)
    },
    async delete(key) {
      return environment.write(() => {
        const wasAlive = index.find(toIndexKey(key), now()) !== undefined
        index.remove(toIndexKey(key))
        return wasAlive
      })
    },
    clear: () => clear(options, kind),
  }
}

async function clear({ environment, index }: EmbeddedBlobsOptions, kind: string): Promise<number> {
  let cleared = 0
  const clearBatch = () => {
    const keys = index.keys(`${kind}:`, PURGE_BATCH)
    for (const key of keys) index.remove(key)
    cleared += keys.length
    return keys.length
  }
  while ((await environment.write(clearBatch)) === PURGE_BATCH);
  return cleared
}

/**
 * Deletes expired blobs in transactions of bounded size, so that other writers do not wait long.
 */
export async function purgeExpired({ environment, index, now }: EmbeddedBlobsOptions): Promise<void> {
  const purgeBatch = () => {
    let purged = 0
    for (let key = index.nextVictim(now(), false); key !== undefined; key = index.nextVictim(now(), false)) {
      index.remove(key)
      if (++purged === PURGE_BATCH) break
    }
    return purged
  }
  const hasExpired = () => environment.read(() => index.nextVictim(now(), false)) !== undefined
  while (hasExpired() && (await environment.write(purgeBatch)) === PURGE_BATCH);
}

/**
 * Renews the time of use in the background. A failure only makes the order of eviction less
 * accurate.
 */
function touch({ environment, index, now, onProblem }: EmbeddedBlobsOptions, key: string): void {
  environment.write(() => index.touch(key, now())).catch(error => onProblem(error, 'touch'))
}
