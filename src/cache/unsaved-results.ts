import type { CacheKey, Result } from '../segment/types.js'

export interface UnsavedResultsOptions {
  write(key: CacheKey, result: Result, ttlSeconds: number): Promise<void>
  /** While it says no, nothing is tried. */
  isStoreUp(): boolean
  /** Bound of all that wait together. */
  maxBytes: number
  retryMs: number
  onFailure(error: unknown): void
  /** Told of a paid answer that is given up: there is no room for it, or the store, though up, refuses it again and again. */
  onLost(key: CacheKey, result: Result, why: 'no room' | 'refused'): void
}

interface Waiting {
  result: Result
  ttlSeconds: number
  refusals: number
  /** Those between which the store took another result. */
  ownRefusals: number
  /** How many the store had taken when this one began to wait, or was refused last. */
  takenBefore: number
  /** Told whether the store has it. */
  tell: ((isWritten: boolean) => void)[]
}

/** Times a store may refuse one result while it takes others: one that is too large for it stays so. */
const MAX_REFUSALS = 5
/** The same while it takes no other: a store that is full or read-only refuses everything, which says nothing against this one. */
const MAX_REFUSALS_OF_ALL = 600

/**
 * Paid answers that the store could not take, kept in memory until it is back, oldest first. They are bounded in bytes: when a
 * new one does not fit, the oldest are given up. They are lost when the process is killed before that; `keys` says which.
 */
export class UnsavedResults {
  readonly #options: UnsavedResultsOptions
  readonly #waiting = new Map<CacheKey, Waiting>()
  #bytes = 0
  #taken = 0
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

  /** The names of what waits. */
  get keys(): CacheKey[] {
    return [...this.#waiting.keys()]
  }

  /** The store has taken a result, waiting or not. */
  noteTaken(): void {
    this.#taken++
  }

  get(key: CacheKey): Result | undefined {
    return this.#waiting.get(key)?.result
  }

  /** Resolves with whether the store has it, once that is known. A newer result of the same key takes the place of an older one. */
  add(key: CacheKey, result: Result, ttlSeconds: number): Promise<boolean> {
    const before = this.#take(key)
    return new Promise(resolve => {
      this.#waiting.set(key, {
        result,
        ttlSeconds,
        refusals: 0,
        ownRefusals: 0,
        takenBefore: this.#taken,
        tell: [...(before?.tell ?? []), resolve],
      })
      this.#bytes += result.body.length
      this.#makeRoom()
      this.#wake()
    })
  }

  /** It need not be written any more; answers whether it waited. */
  drop(key: CacheKey): boolean {
    const waiting = this.#waiting.get(key)
    return waiting !== undefined && this.#end(key, waiting, false)
  }

  /** Tries each once, oldest first. Never rejects. */
  flush(): Promise<void> {
    this.#flushing ??= this.#run().finally(() => {
      this.#flushing = undefined
    })
    return this.#flushing
  }

  /** Nothing is tried by itself any more. */
  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  async #run(): Promise<void> {
    for (const [key, waiting] of [...this.#waiting]) {
      if (!this.#options.isStoreUp()) return
      if (this.#waiting.get(key) !== waiting) continue
      try {
        await this.#options.write(key, waiting.result, waiting.ttlSeconds)
        this.#end(key, waiting, true)
      } catch (error) {
        this.#options.onFailure(error)
        if (this.#options.isStoreUp() && this.#isHopeless(waiting)) this.#giveUp(key, waiting, 'refused')
      }
    }
  }

  #isHopeless(waiting: Waiting): boolean {
    waiting.refusals++
    if (this.#taken > waiting.takenBefore) waiting.ownRefusals++
    waiting.takenBefore = this.#taken
    return waiting.ownRefusals >= MAX_REFUSALS || waiting.refusals >= MAX_REFUSALS_OF_ALL
  }

  #makeRoom(): void {
    for (const [key, waiting] of this.#waiting) {
      if (this.#bytes <= this.#options.maxBytes) return
      this.#giveUp(key, waiting, 'no room')
    }
  }

  #giveUp(key: CacheKey, waiting: Waiting, why: 'no room' | 'refused'): void {
    if (this.#end(key, waiting, false)) this.#options.onLost(key, waiting.result, why)
  }

  /** A newer result may have taken its place while it was written: that one goes on waiting, and tells for both. */
  #end(key: CacheKey, waiting: Waiting, isWritten: boolean): boolean {
    if (this.#waiting.get(key) !== waiting) return false
    this.#take(key)
    for (const tell of waiting.tell) tell(isWritten)
    return true
  }

  #take(key: CacheKey): Waiting | undefined {
    const waiting = this.#waiting.get(key)
    if (!waiting) return undefined
    this.#waiting.delete(key)
    this.#bytes -= waiting.result.body.length
    return waiting
  }

  #wake(): void {
    if (this.#isClosed) return
    this.#timer ??= setTimeout(async () => {
      await this.flush()
      this.#timer = undefined
      if (this.#waiting.size > 0) this.#wake()
    }, this.#options.retryMs).unref()
  }
}
