import type { SharedUse } from '../storage.js'

export interface SharedUsesOptions {
  store: { share(use: SharedUse): Promise<void> }
  onStoreFailure(error: unknown): void
}

/** Uses that are remembered as told, in each of two generations; and those that may wait for the store. */
const REMEMBERED = 50_000
const MAX_WAITING = 10_000

/**
 * Tells the store once which team shares which purchase, however often it uses it. What the store does not take waits and is told again:
 * a second time changes nothing there. A process that is killed loses at most what waits; the next use tells it again.
 */
export class SharedUses {
  readonly #options: SharedUsesOptions
  /** Names of what was told, the newer and the older half: what is still asked for moves from the older into the newer. */
  #newer = new Set<string>()
  #older = new Set<string>()
  readonly #waiting = new Map<string, SharedUse>()

  constructor(options: SharedUsesOptions) {
    this.#options = options
  }

  /** How many wait for the store. */
  get size(): number {
    return this.#waiting.size
  }

  /** Whether a use was told before, or waits to be. Cheap: it is asked at every hit. */
  isTold(name: string): boolean {
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

  /** Writes what waits, until the store does not take one. Never rejects. */
  async flush(): Promise<void> {
    for (const [name, use] of [...this.#waiting]) {
      try {
        await this.#options.store.share(use)
        this.#waiting.delete(name)
      } catch (error) {
        this.#options.onStoreFailure(error)
        // To the end: one that is refused for its own sake holds up the others only once.
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

  /** The next use tells it anew. */
  #forget(name: string): void {
    this.#waiting.delete(name)
    this.#newer.delete(name)
    this.#older.delete(name)
  }
}
