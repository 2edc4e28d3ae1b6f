import type { Nanocredits } from '../nanocredits.js'

/** How many recent costs the estimate is learned from, and how many it takes before they count. */
const REMEMBERED = 200
const ENOUGH = 10
/** The share of recent calls that cost no more than the estimate. */
const QUANTILE = 0.95
/** The estimate stays within this factor of the configured one, so that one odd bill neither frees nor blocks a budget. */
const MAX_FACTOR = 10

/** What a call will probably cost: `PRICE_ESTIMATE_CREDITS` until enough calls were seen, then a high quantile of the last ones. Never 0. */
export class PriceEstimate {
  readonly #configured: Nanocredits
  readonly #recent: Nanocredits[] = []
  #next = 0

  constructor(configured: Nanocredits) {
    this.#configured = configured
  }

  /** Learns from a cost that Segmind itself named. */
  learn(cost: Nanocredits): void {
    this.#recent[this.#next] = cost
    this.#next = (this.#next + 1) % REMEMBERED
  }

  current(): Nanocredits {
    if (this.#recent.length < ENOUGH) return this.#configured
    const sorted = this.#recent.toSorted((a, b) => a - b)
    const seen = sorted[Math.ceil(sorted.length * QUANTILE) - 1] ?? this.#configured
    const bounded = Math.min(this.#configured * MAX_FACTOR, Math.max(this.#configured / MAX_FACTOR, seen))
    return Math.max(1, Math.round(bounded))
  }
}
