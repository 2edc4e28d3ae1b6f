import type { StoreObserver } from '../contracts/observer.js'
import type { SharedUse } from '../contracts/store.js'

export interface SharedUsesOptions {
  store: { share(use: SharedUse): Promise<void> }
  observer: StoreObserver
}

/** Recorded uses remembered in each of two generations. */
const REMEMBERED = 50_000
/** Uses that may wait for the store. */
const MAX_WAITING = 10_000

/**
 * Tells the store once that a team shares a purchase, however often the team uses it. A use that
 * the store did not accept waits and is sent again, which is safe: a second time changes nothing. A
 * process that is killed loses at most the waiting uses, and the next use of the result records
 * them again.
 */
export class SharedUses {
  readonly #options: SharedUsesOptions
  /**
   * Names of recorded uses in two generations. A name that is used again moves to the newer one.
   */
  #newer = new Set<string>()
  #older = new Set<string>()
  readonly #waiting = new Map<string, SharedUse>()

  constructor(options: SharedUsesOptions) {
    this.#options = options
  }

  /** Number of uses that wait for the store. */
  get size(): number {
    return this.#waiting.size
  }

  /** Tells whether a use is recorded or waiting. Cheap, because every hit calls it. */
  isRecorded(name: string): boolean {
    if (this.#newer.has(name)) return true
    if (!this.#older.has(name)) return false
    this.#remember(name)
    return true
  }

  add(name: string, use: SharedUse): void {
    this.#remember(name)
    this.#waiting.set(name, use)
    if (this.#waiting.size <= MAX_WAITING) return
    const [oldest] = this.#waiting.keys()
    if (oldest !== undefined) this.#forget(oldest)
  }

  /** Writes the waiting uses until the store refuses one. Never rejects. */
  async flush(): Promise<void> {
    for (const [name, use] of [...this.#waiting]) {
      try {
        await this.#options.store.share(use)
        this.#waiting.delete(name)
      } catch (error) {
        this.#options.observer.storeFailed(error, 'journal: write')
        // Moves to the end, so that a use the store always refuses delays the others only once.
        if (this.#waiting.delete(name)) this.#waiting.set(name, use)
        return
      }
    }
  }

  #remember(name: string): void {
    this.#newer.add(name)
    if (this.#newer.size < REMEMBERED) return
    this.#older = this.#newer
    this.#newer = new Set()
  }

  /** Drops a use. The next use of the result records it again. */
  #forget(name: string): void {
    this.#waiting.delete(name)
    this.#newer.delete(name)
    this.#older.delete(name)
  }
}
