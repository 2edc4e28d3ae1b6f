/** A step of the ledger that the store could not take yet. Running it twice changes nothing (idempotent by call id). */
export type Step = () => Promise<void>

export interface UnsavedOptions {
  retryMs: number
  /** While it says no, nothing is tried. */
  isStoreUp(): boolean
  onFailure(error: unknown, waiting: number): void
}

/**
 * Ledger steps waiting for a store that is down, kept in memory in order and tried again until the store takes them.
 * They are lost when the process is killed before that: `size` says how many there are.
 */
export class UnsavedSteps {
  readonly #options: UnsavedOptions
  readonly #steps = new Set<Step>()
  #timer: NodeJS.Timeout | undefined
  #flushing: Promise<void> | undefined

  constructor(options: UnsavedOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#steps.size
  }

  add(step: Step): void {
    this.#steps.add(step)
    this.#wake()
  }

  /** Tries each step once, in order; one that fails for a reason of its own does not hold up the others. Never rejects. */
  flush(): Promise<void> {
    this.#flushing ??= this.#run().finally(() => {
      this.#flushing = undefined
    })
    return this.#flushing
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  async #run(): Promise<void> {
    for (const step of [...this.#steps]) {
      if (!this.#options.isStoreUp()) return
      try {
        await step()
        this.#steps.delete(step)
      } catch (error) {
        this.#options.onFailure(error, this.#steps.size)
      }
    }
  }

  #wake(): void {
    this.#timer ??= setTimeout(async () => {
      await this.flush()
      this.#timer = undefined
      if (this.#steps.size > 0) this.#wake()
    }, this.#options.retryMs).unref()
  }
}
