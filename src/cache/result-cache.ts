import type { Found, Kept } from '../segment/ports.js'
import type { CacheKey, Result } from '../segment/types.js'
import type { BlobStore } from '../storage.js'
import { MemoryTier } from './memory-tier.js'
import { UnsavedResults } from './unsaved-results.js'

export interface ResultCacheOptions {
  memoryBytes: number
  store: BlobStore
  isStoreUp(): boolean
  /** How long the store keeps a result: `CACHE_TTL_SECONDS` + `STALE_SECONDS`. */
  keepSeconds: number
  /** Bound of the results that wait for the store. */
  unsavedBytes: number
  /** How often those are tried again. Default one second. */
  retryMs?: number
  /** Told every time the store failed: the request goes on without it. */
  onStoreFailure(error: unknown, doing: 'find' | 'keep'): void
  /** Told of a paid answer that the store never got. */
  onLost(key: CacheKey, result: Result, why: 'no room' | 'refused'): void
}

/**
 * Paid answers in two tiers: the memory of this process, then the store. Fails open: a store that cannot be asked is a
 * miss, a result it cannot take waits here until it can; both are reported, neither is an error of the request.
 */
export class ResultCache {
  readonly memory: MemoryTier
  readonly unsaved: UnsavedResults
  readonly #options: ResultCacheOptions

  constructor(options: ResultCacheOptions) {
    this.#options = options
    this.memory = new MemoryTier(options.memoryBytes)
    this.unsaved = new UnsavedResults({
      write: (key, result, ttlSeconds) => this.#write(key, result, ttlSeconds),
      isStoreUp: options.isStoreUp,
      maxBytes: options.unsavedBytes,
      retryMs: options.retryMs ?? 1_000,
      onFailure: error => options.onStoreFailure(error, 'keep'),
      onLost: options.onLost,
    })
  }

  /**
   * Answers the result that `isWanted`, else one that is past its time, else nothing. A remembered result that is not
   * wanted does not hide a newer one that another process has put into the store.
   */
  async find(key: CacheKey, isWanted: (result: Result) => boolean): Promise<Found> {
    const remembered = this.#remembered(key)
    if (remembered && isWanted(remembered)) return { result: remembered, isSure: true }
    try {
      const blob = await this.#options.store.get(key)
      const stored: Result | undefined = blob && { ...(JSON.parse(blob.meta) as Omit<Result, 'body'>), body: blob.body }
      // A newer one may have been kept while the store was asked, or while it was down.
      const newest = this.#remembered(key)
      if (!stored || (newest && newest.storedAt >= stored.storedAt)) return found(newest, true)
      this.memory.set(key, stored)
      return found(stored, true)
    } catch (error) {
      this.#options.onStoreFailure(error, 'find')
      return found(this.#remembered(key), false)
    }
  }

  async keep(key: CacheKey, result: Result, ttlSeconds = this.#options.keepSeconds): Promise<Kept> {
    this.memory.set(key, result)
    // Behind an older one that still waits, which would otherwise be written over this one.
    if (this.unsaved.get(key)) return { stored: false, written: this.unsaved.add(key, result, ttlSeconds) }
    try {
      await this.#write(key, result, ttlSeconds)
      return { stored: true, written: Promise.resolve(true) }
    } catch (error) {
      this.#options.onStoreFailure(error, 'keep')
      return { stored: false, written: this.unsaved.add(key, result, ttlSeconds) }
    }
  }

  /** Takes a result out of the store and out of this process; others drop it when they are told. Rejects with `StoreError`. */
  async purge(key: CacheKey): Promise<boolean> {
    const wasHere = this.forget(key)
    return (await this.#options.store.delete(key)) || wasHere
  }

  /** The same of all results; answers how many the store had. Rejects with `StoreError`. */
  async purgeAll(): Promise<number> {
    this.forgetAll()
    return this.#options.store.clear()
  }

  /** Drops what this process remembers, and answers whether it did. */
  forget(key: CacheKey): boolean {
    const wasWaiting = this.unsaved.drop(key)
    return this.memory.delete(key) || wasWaiting
  }

  forgetAll(): void {
    this.memory.clear()
    for (const key of this.unsaved.keys) this.unsaved.drop(key)
  }

  #remembered(key: CacheKey): Result | undefined {
    return this.memory.get(key) ?? this.unsaved.get(key)
  }

  async #write(key: CacheKey, { body, ...meta }: Result, ttlSeconds: number): Promise<void> {
    await this.#options.store.put(key, { meta: JSON.stringify(meta), body }, ttlSeconds)
    this.unsaved.noteTaken()
  }
}

function found(result: Result | undefined, isSure: boolean): Found {
  return result ? { result, isSure } : { isSure }
}
