import type { CacheKey, Result } from '../segment/types.js'
import type { BlobStore } from '../storage.js'
import { MemoryTier } from './memory-tier.js'

export interface ResultCacheOptions {
  memoryBytes: number
  store: BlobStore
  /** How long the store keeps a result: `CACHE_TTL_SECONDS` + `STALE_SECONDS`. */
  keepSeconds: number
  /** Told every time the store failed: the request goes on without it. */
  onStoreFailure(error: unknown, doing: 'find' | 'keep'): void
}

/**
 * Paid answers in two tiers: the memory of this process, then the store. Fails open: a store that cannot be asked is a
 * miss, a result it cannot take stays in memory; both are reported, neither is an error of the request.
 */
export class ResultCache {
  readonly memory: MemoryTier
  readonly #options: ResultCacheOptions

  constructor(options: ResultCacheOptions) {
    this.#options = options
    this.memory = new MemoryTier(options.memoryBytes)
  }

  /**
   * Answers the result that `isWanted`, else one that is past its time, else nothing. A remembered result that is not
   * wanted does not hide a newer one that another process has put into the store.
   */
  async find(key: CacheKey, isWanted: (result: Result) => boolean): Promise<Result | undefined> {
    const remembered = this.memory.get(key)
    if (remembered && isWanted(remembered)) return remembered
    try {
      const blob = await this.#options.store.get(key)
      if (!blob) return remembered
      const stored: Result = { ...(JSON.parse(blob.meta) as Omit<Result, 'body'>), body: blob.body }
      // A newer one may have been kept while the store was asked, or while it was down.
      const newest = this.memory.get(key)
      if (newest && newest.storedAt >= stored.storedAt) return newest
      this.memory.set(key, stored)
      return stored
    } catch (error) {
      this.#options.onStoreFailure(error, 'find')
      return remembered
    }
  }

  /** Answers whether the store has it. */
  async keep(key: CacheKey, result: Result): Promise<boolean> {
    this.memory.set(key, result)
    const { body, ...meta } = result
    try {
      await this.#options.store.put(key, { meta: JSON.stringify(meta), body }, this.#options.keepSeconds)
      return true
    } catch (error) {
      this.#options.onStoreFailure(error, 'keep')
      return false
    }
  }
}
