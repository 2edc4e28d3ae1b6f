import type { Nanocredits } from '../nanocredits.js'
import type { BalanceSample } from '../storage.js'

export interface BalanceOptions {
  /** Where all replicas share the newest sample. */
  store: { recordBalance(sample: BalanceSample): Promise<void>; balance(): Promise<BalanceSample | undefined> }
  /** Segmind's free balance endpoint; rejects when it does not answer. */
  ask(): Promise<Nanocredits>
  now(): number
  /** Told when Segmind, or the store, did not answer: the balance stays what it was. */
  onAskFailure(error: unknown): void
  onShareFailure(error: unknown): void
}

/** How far the clocks of replicas may lie apart. */
const FUTURE_MS = 60_000
/** How old the newest sample may grow before Segmind is asked, milliseconds. */
const ASK_AFTER_MS = 60_000

/** The account's balance as Segmind last said it: from the header of every answer, and when idle from the free endpoint. Unknown is never 0. */
export class Balance {
  readonly #options: BalanceOptions
  #latest: BalanceSample | undefined
  #asking = false

  constructor(options: BalanceOptions) {
    this.#options = options
  }

  /** Undefined until Segmind has said something. */
  get latest(): BalanceSample | undefined {
    return this.#latest
  }

  /** Takes what an answer's header said. */
  async record(remaining: Nanocredits): Promise<void> {
    const sample = { remaining, at: this.#options.now() }
    this.#take(sample)
    await this.#options.store.recordBalance(sample).catch(error => this.#options.onShareFailure(error))
  }

  /** Takes what other replicas know; asks Segmind, for free, when everybody's knowledge is old. Never rejects. */
  async refresh(): Promise<void> {
    if (this.#asking) return
    this.#asking = true
    try {
      const shared = await this.#shared()
      if (shared && !this.#isFromTheFuture(shared)) this.#take(shared)
      if (this.#latest && this.#options.now() - this.#latest.at < ASK_AFTER_MS) return
      await this.record(await this.#options.ask())
    } catch (error) {
      this.#options.onAskFailure(error)
    } finally {
      this.#asking = false
    }
  }

  /** A clock that was wrong, here or in another replica, must not hide everything that comes after it. */
  #isFromTheFuture(sample: BalanceSample): boolean {
    return sample.at > this.#options.now() + FUTURE_MS
  }

  async #shared(): Promise<BalanceSample | undefined> {
    try {
      return await this.#options.store.balance()
    } catch (error) {
      this.#options.onShareFailure(error)
      return undefined
    }
  }

  /** Answers of concurrent calls may arrive out of order: the newest sample stays. */
  #take(sample: BalanceSample): void {
    if (!this.#latest || sample.at >= this.#latest.at || this.#isFromTheFuture(this.#latest)) this.#latest = sample
  }
}
