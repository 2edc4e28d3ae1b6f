import { LRUCache } from 'lru-cache'
import type { CacheKey, Result } from '../segment/types.js'

/** What one entry weighs beside its body: key, strings, the map's own bookkeeping. Bytes, rounded up. */
const ENTRY_OVERHEAD_BYTES = 512

/** The answers last used, in this process, bounded in bytes (`MEMORY_CACHE_BYTES`; 0 keeps none). */
export class MemoryTier {
  readonly #lru: LRUCache<CacheKey, Result> | undefined

  constructor(maxBytes: number) {
    if (maxBytes === 0) return
    this.#lru = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: result => result.body.length + ENTRY_OVERHEAD_BYTES,
    })
  }

  get(key: CacheKey): Result | undefined {
    return this.#lru?.get(key)
  }

  /** A result larger than the whole bound is not kept, and pushes nothing out. */
  set(key: CacheKey, result: Result): void {
    this.#lru?.set(key, result)
  }

  delete(key: CacheKey): boolean {
    return this.#lru?.delete(key) ?? false
  }

  clear(): void {
    this.#lru?.clear()
  }

  get entries(): number {
    return this.#lru?.size ?? 0
  }

  get bytes(): number {
    return this.#lru?.calculatedSize ?? 0
  }
}
