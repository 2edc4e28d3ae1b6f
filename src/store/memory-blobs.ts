import { LRUCache } from 'lru-cache'
import type { Blob, BlobStore } from '../storage.js'

/** What a blob takes beside its bytes, roughly. */
const ENTRY_BYTES = 200

/** Blobs in the memory of this process, and nowhere else: at most so many bytes, the longest unused go first. */
export function createMemoryBlobs({ maxBytes }: { maxBytes: number }): BlobStore {
  const blobs = new LRUCache<string, Blob>({
    maxSize: maxBytes,
    sizeCalculation: ({ meta, body }) => ENTRY_BYTES + meta.length + body.length,
  })
  return {
    get: async key => blobs.get(key),
    put: async (key, blob, ttlSeconds) => void blobs.set(key, blob, { ttl: Math.max(1, ttlSeconds * 1000) }),
    has: async key => blobs.has(key),
    delete: async key => blobs.delete(key),
    async clear() {
      const { size } = blobs
      blobs.clear()
      return size
    },
  }
}
