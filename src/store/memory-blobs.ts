import { LRUCache } from 'lru-cache'
import type { Blob, BlobStore } from '../contracts/store.js'

/** Approximate memory use of a blob beyond its bytes. */
const ENTRY_BYTES = 200

/**
 * Creates blobs that exist only in this process, at most `maxBytes`. Evicts the least recently used
 * first.
 */
export function createMemoryBlobs({ maxBytes }: { maxBytes: number }): BlobStore {
  const blobs = new LRUCache<string, Blob>({
    maxSize: maxBytes,
    sizeCalculation: ({ meta, body }) => ENTRY_BYTES + meta.length + body.length,
  })
  return {
    get: async key => blobs.get(key),
    async put(key, { meta, body }, ttlSeconds) {
      blobs.set(key, { meta, body: Buffer.from(body) }, { ttl: Math.max(1, ttlSeconds * 1000) })
    },
    has: async key => blobs.has(key),
    delete: async key => blobs.delete(key),
    async clear() {
      const { size } = blobs
      blobs.clear()
      return size
    },
  }
}
