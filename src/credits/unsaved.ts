/** A step of the ledger that the store could not take yet. Running it twice changes nothing (idempotent by call id). */
export type Step = () => Promise<void>

export interface UnsavedOptions {
  retryMs: number
  onFailure(error: unknown, waiting: number): void
}

/**
 * Ledger steps waiting for a store that is down, kept in memory in order and tried again until the store takes them.
 * They are lost when the process is killed before that: `size` says how many there are.
 */
export class UnsavedSteps {
  readonly #options: UnsavedOptions
  readonly #steps: Step[] = []
  #timer: NodeJS.Timeout | undefined
  #flushing: Promise<void> | undefined

  constructor(options: UnsavedOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#steps.length
  }

  add(step: Step): void {
    this.#steps.push(step)
    this.#wake()
  }

  /** Tries everything once, in order, up to the first that fails again. Never rejects. */
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
    for (let step = this.#steps[0]; step; step = this.#steps[0]) {
      try {
        await step()
        this.#steps.shift()
      } catch (error) {
        this.#options.onFailure(error, this.#steps.length)
        return
      }
    }
  }

  #wake(): void {
    this.#timer ??= setTimeout(async () => {
      await this.flush()
      this.#timer = undefined
      if (this.#steps.length > 0) this.#wake()
    }, this.#options.retryMs).unref()
  }
}
