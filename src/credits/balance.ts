import type { Nanocredits } from '../nanocredits.js'
import type { BalanceSample } from '../storage.js'

export interface BalanceOptions {
  /** Where all replicas share the newest sample. */
  store: { recordBalance(sample: BalanceSample): Promise<void>; balance(): Promise<BalanceSample | undefined> }
  /** Segmind's free balance endpoint; rejects when it does not answer. */
  ask(): Promise<Nanocredits>
  now(): number
  /** Told when the balance could not be asked or shared: it stays what it was. */
  onFailure(error: unknown, doing: 'ask' | 'share'): void
}

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
    await this.#options.store.recordBalance(sample).catch(error => this.#options.onFailure(error, 'share'))
  }

  /** Takes what other replicas know; asks Segmind, for free, when everybody's knowledge is old. Never rejects. */
  async refresh(): Promise<void> {
    if (this.#asking) return
    this.#asking = true
    try {
      const shared = await this.#shared()
      if (shared) this.#take(shared)
      if (this.#latest && this.#options.now() - this.#latest.at < ASK_AFTER_MS) return
      await this.record(await this.#options.ask())
    } catch (error) {
      this.#options.onFailure(error, 'ask')
    } finally {
      this.#asking = false
    }
  }

  async #shared(): Promise<BalanceSample | undefined> {
    try {
      return await this.#options.store.balance()
    } catch (error) {
      this.#options.onFailure(error, 'share')
      return undefined
    }
  }

  /** Answers of concurrent calls may arrive out of order: the newest sample stays. */
  #take(sample: BalanceSample): void {
    if (!this.#latest || sample.at >= this.#latest.at) this.#latest = sample
  }
}
