import type { ResultLossReason, StoreObserver } from '../contracts/observer.js'
import type { CacheKey, Result } from '../contracts/types.js'

export interface UnsavedResultsOptions {
  write(key: CacheKey, result: Result, ttlSeconds: number): Promise<void>
  /** While false, no write is tried. */
  isStoreUp(): boolean
  /** Bound of all waiting results together. */
  maxBytes: number
  retryMs: number
  observer: ResultObserver
}

export interface ResultObserver extends StoreObserver {
  /**
   * Called when a paid result is given up: no room for it, or refused again and again by a store
   * that is up.
   */
  resultLost(key: CacheKey, result: Result, why: ResultLossReason): void
}

interface WaitingResult {
  result: Result
  ttlSeconds: number
  refusals: number
  /** Refusals since the last of which the store accepted another result. */
  ownRefusals: number
  /**
   * Number of results accepted by the store when this one began to wait, or when it was last
   * refused.
   */
  acceptedBefore: number
  /** Each is called with whether the result was written. */
  onEnd: ((isWritten: boolean) => void)[]
}

/** Refusals of one result while the store accepts others: the result is too large, and stays so. */
const MAX_OWN_REFUSALS = 5
/**
 * Refusals in all. A store that is full or read-only refuses everything, which says little about
 * one result.
 */
const MAX_REFUSALS = 600

/**
 * Paid results that the store did not accept, kept in memory and retried, oldest first. Bounded in
 * bytes: the oldest results are given up for a new one. A process that is killed loses them; `keys`
 * names them.
 */
export class UnsavedResults {
  readonly #options: UnsavedResultsOptions
  readonly #waiting = new Map<CacheKey, WaitingResult>()
  #bytes = 0
  #accepted = 0
  #timer: NodeJS.Timeout | undefined
  #flushing: Promise<void> | undefined
  #isClosed = false

  constructor(options: UnsavedResultsOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#waiting.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Keys of the waiting results. */
  get keys(): CacheKey[] {
    return [...this.#waiting.keys()]
  }

  /** Counts a result that the store accepted, whether it had to wait or not. */
  recordAccepted(): void {
    this.#accepted++
  }

  get(key: CacheKey): Result | undefined {
    return this.#waiting.get(key)?.result
  }

  /**
   * Queues a result, in place of an older one with the same key. Resolves with whether it was
   * written, once that is known.
   */
  add(key: CacheKey, result: Result, ttlSeconds: number): Promise<boolean> {
    const before = this.#remove(key)
    return new Promise(resolve => {
      this.#waiting.set(key, {
        result,
        ttlSeconds,
        refusals: 0,
        ownRefusals: 0,
        acceptedBefore: this.#accepted,
        onEnd: [...(before?.onEnd ?? []), resolve],
      })
      this.#bytes += result.body.length
      this.#makeRoom()
      this.#schedule()
    })
  }

  /** Removes a result that is no longer to be written, and returns whether it waited. */
  drop(key: CacheKey): boolean {
    const waiting = this.#waiting.get(key)
    return waiting !== undefined && this.#end(key, waiting, false)
  }

  /** Tries to write each result once, oldest first. Never rejects. */
  flush(): Promise<void> {
    this.#flushing ??= this.#writeAll().finally(() => {
      this.#flushing = undefined
    })
    return this.#flushing
  }

  /** Stops the retries. */
  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  async #writeAll(): Promise<void> {
    for (const [key, waiting] of [...this.#waiting]) {
      if (!this.#options.isStoreUp()) return
      if (this.#waiting.get(key) !== waiting) continue
      try {
        await this.#options.write(key, waiting.result, waiting.ttlSeconds)
        this.#end(key, waiting, true)
      } catch (error) {
        this.#options.observer.storeFailed(error, 'results: keep')
        if (this.#options.isStoreUp() && this.#isHopeless(waiting)) this.#giveUp(key, waiting, 'refused')
      }
    }
  }

  #isHopeless(waiting: WaitingResult): boolean {
    waiting.refusals++
    if (this.#accepted > waiting.acceptedBefore) waiting.ownRefusals++
    waiting.acceptedBefore = this.#accepted
    return waiting.ownRefusals >= MAX_OWN_REFUSALS || waiting.refusals >= MAX_REFUSALS
  }

  #makeRoom(): void {
    for (const [key, waiting] of this.#waiting) {
      if (this.#bytes <= this.#options.maxBytes) return
      this.#giveUp(key, waiting, 'no room')
    }
  }

  #giveUp(key: CacheKey, waiting: WaitingResult, why: ResultLossReason): void {
    if (this.#end(key, waiting, false)) this.#options.observer.resultLost(key, waiting.result, why)
  }

  /**
   * Removes a result and resolves its promises. A newer result may have replaced it during the
   * write; that one keeps waiting, and resolves the promises of both.
   */
  #end(key: CacheKey, waiting: WaitingResult, isWritten: boolean): boolean {
    if (this.#waiting.get(key) !== waiting) return false
    this.#remove(key)
    for (const resolve of waiting.onEnd) resolve(isWritten)
    return true
  }

  #remove(key: CacheKey): WaitingResult | undefined {
    const waiting = this.#waiting.get(key)
    if (!waiting) return undefined
    this.#waiting.delete(key)
    this.#bytes -= waiting.result.body.length
    return waiting
  }

  #schedule(): void {
    if (this.#isClosed) return
    this.#timer ??= setTimeout(async () => {
      await this.flush()
      this.#timer = undefined
      if (this.#waiting.size > 0) this.#schedule()
    }, this.#options.retryMs).unref()
  }
}
