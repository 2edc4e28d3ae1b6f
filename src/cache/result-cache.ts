import { LRUCache } from 'lru-cache'
import { etagOf } from '../contracts/etag.js'
import type { MaybePromise } from '../contracts/maybe-promise.js'
import type { BodyObserver } from '../contracts/observer.js'
import type { Blob, BlobStore } from '../contracts/store.js'
import type { CacheKey, Result } from '../contracts/types.js'
import type { Found, WriteState } from '../segment/ports.js'
import { type ResultObserver, UnsavedResults } from './unsaved-results.js'

export interface ResultCacheOptions {
  /** Bound of the results in memory, in bytes; 0 keeps none. */
  memoryBytes: number
  store: BlobStore
  isStoreUp(): boolean
  /** Time to live in the store: `CACHE_TTL_SECONDS` + `STALE_SECONDS`. */
  keepSeconds: number
  /** Bound of the results that wait for the store. */
  unsavedBytes: number
  /** Interval of the retries for waiting results. Default one second. */
  retryMs?: number
  observer: ResultObserver & BodyObserver
}

/** Weight of an entry beyond its body, in bytes, rounded up: key, strings, the map's own data. */
const ENTRY_OVERHEAD_BYTES = 512

/**
 * Paid results in two tiers: the memory of this process, then the store. Fails open: a failing
 * store is a miss, and a result that it does not accept waits in memory. Both failures are
 * reported, and neither fails a request.
 */
export class ResultCache {
  readonly unsaved: UnsavedResults
  readonly #options: ResultCacheOptions
  /**
   * The most recently used results. A result larger than the whole bound is skipped and evicts
   * nothing.
   */
  readonly #memory: LRUCache<CacheKey, Result> | undefined

  constructor(options: ResultCacheOptions) {
    this.#options = options
    if (options.memoryBytes > 0)
      this.#memory = new LRUCache({
        maxSize: options.memoryBytes,
        sizeCalculation: ({ body }) => body.length + ENTRY_OVERHEAD_BYTES,
      })
    this.unsaved = new UnsavedResults({
      write: (key, result, ttlSeconds) => this.#write(key, result, ttlSeconds),
      isStoreUp: options.isStoreUp,
      maxBytes: options.unsavedBytes,
      retryMs: options.retryMs ?? 1_000,
      observer: options.observer,
    })
  }

  /**
   * Finds a result that `isWanted`, else a stale one. A result in memory that is not wanted
   * does not hide a newer one that another process has put into the store. `isStored`: false if the
   * store is known to have none, so that it is not read.
   */
  find(key: CacheKey, isWanted: (result: Result) => boolean, isStored = true): MaybePromise<Found> {
    const remembered = this.#recall(key)
    const isKnown = !isStored || (remembered && isWanted(remembered))
    return isKnown ? { result: remembered, isSure: true } : this.#findStored(key)
  }

  async #findStored(key: CacheKey): Promise<Found> {
    try {
      const stored = await this.#read(key)
      // Memory may hold a newer one: kept during this read, or while the store was down.
      const newest = this.#recall(key)
      if (!stored || (newest && newest.storedAt >= stored.storedAt)) return { result: newest, isSure: true }
      this.#memory?.set(key, stored)
      return { result: stored, isSure: true }
    } catch (error) {
      this.#options.observer.storeFailed(error, 'results: find')
      return { result: this.#recall(key), isSure: false }
    }
  }

  /** Reads a result from the store. A damaged one is removed, so that it is bought again. */
  async #read(key: CacheKey): Promise<Result | undefined> {
    const { store, observer } = this.#options
    const blob = await store.get(key)
    const result = blob && toResult(blob)
    if (!blob || result) return result
    // Another process may have replaced it meanwhile.
    const again = await store.get(key)
    const replacement = again && toResult(again)
    if (!again || replacement) return replacement
    await store.delete(key)
    observer.bodyDamaged('result', key)
    return undefined
  }

  async keep(key: CacheKey, result: Result, ttlSeconds = this.#options.keepSeconds): Promise<WriteState> {
    this.#memory?.set(key, result)
    // Queued behind an older result that still waits, which would otherwise overwrite this one.
    if (this.unsaved.get(key)) return { stored: false, written: this.unsaved.add(key, result, ttlSeconds) }
    try {
      await this.#write(key, result, ttlSeconds)
      return { stored: true, written: Promise.resolve(true) }
    } catch (error) {
      this.#options.observer.storeFailed(error, 'results: keep')
      return { stored: false, written: this.unsaved.add(key, result, ttlSeconds) }
    }
  }

  /**
   * Deletes a result from the store and from this process; other processes learn it from the purge
   * log. Rejects with `StoreError`.
   */
  async purge(key: CacheKey): Promise<boolean> {
    const wasHere = this.forget(key)
    return (await this.#options.store.delete(key)) || wasHere
  }

  /** Deletes all results and returns how many the store had. Rejects with `StoreError`. */
  async purgeAll(): Promise<number> {
    this.forgetAll()
    return this.#options.store.clear()
  }

  /** Size of the results in memory. */
  get memory(): { entries: number; bytes: number } {
    return { entries: this.#memory?.size ?? 0, bytes: this.#memory?.calculatedSize ?? 0 }
  }

  /** Drops a result from this process and returns whether it was there. */
  forget(key: CacheKey): boolean {
    const wasWaiting = this.unsaved.drop(key)
    return this.#memory?.delete(key) || wasWaiting
  }

  forgetAll(): void {
    this.#memory?.clear()
    for (const key of this.unsaved.keys) this.unsaved.drop(key)
  }

  #recall(key: CacheKey): Result | undefined {
    return this.#memory?.get(key) ?? this.unsaved.get(key)
  }

  async #write(key: CacheKey, { body, ...meta }: Result, ttlSeconds: number): Promise<void> {
    await this.#options.store.put(key, { meta: JSON.stringify(meta), body }, ttlSeconds)
    this.unsaved.recordAccepted()
  }
}

/** Decodes a stored result. Returns undefined if its metadata is no JSON, or its body has another digest. */
function toResult({ meta, body }: Blob): Result | undefined {
  try {
    const known = JSON.parse(meta) as Omit<Result, 'body'>
    return known.etag === etagOf(body) ? { ...known, body } : undefined
  } catch {
    return undefined
  }
}
