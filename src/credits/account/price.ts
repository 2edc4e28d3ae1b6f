import type { Nanocredits } from '../../nanocredits.js'

/** How many recent costs the estimate is learned from, and how many it takes before they count. */
const REMEMBERED = 200
const ENOUGH = 10
/** The share of recent calls that cost no more than the estimate. */
const QUANTILE = 0.95
/** The estimate stays within this factor of the configured one, so that one odd bill neither frees nor blocks a budget. */
const MAX_FACTOR = 10
/**
 * The price has changed when the middle of the last `NEWEST` costs lies so far from the middle of those before, and nearly all of them on
 * that side of it: what varies by chance lies on both.
 */
const NEWEST = 20
const ON_ONE_SIDE = 18
const CHANGED_FACTOR = 1.2

/** A price that has changed: what a call cost in the middle before, and costs now. */
export interface PriceChange {
  from: Nanocredits
  to: Nanocredits
}

/**
 * What a call will probably cost: `PRICE_ESTIMATE_CREDITS` until enough calls were seen, then a high quantile of the last ones, or of those
 * since the price has changed. Never 0.
 */
export class PriceEstimate {
  readonly #configured: Nanocredits
  /** The newest first. */
  #recent: readonly Nanocredits[] = []

  constructor(configured: Nanocredits) {
    this.#configured = configured
  }

  /** Learns from a cost that Segmind itself named. */
  learn(cost: Nanocredits): void {
    this.#recent = [cost, ...this.#recent].slice(0, REMEMBERED)
  }

  /** Takes over what all replicas have seen, the newest first. */
  adopt(costs: readonly Nanocredits[]): void {
    if (costs.length > 0) this.#recent = costs.slice(0, REMEMBERED)
  }

  current(): Nanocredits {
    const costs = this.change ? this.#recent.slice(0, NEWEST) : this.#recent
    if (costs.length < ENOUGH) return this.#configured
    const sorted = costs.toSorted((a, b) => a - b)
    const seen = sorted[Math.ceil(sorted.length * QUANTILE) - 1] ?? this.#configured
    return Math.max(1, Math.round(Math.min(this.max, Math.max(this.#configured / MAX_FACTOR, seen))))
  }

  /** More than a call plausibly costs. */
  get max(): Nanocredits {
    return this.#configured * MAX_FACTOR
  }

  /** Undefined while calls cost what they did. */
  get change(): PriceChange | undefined {
    if (this.#recent.length < 2 * NEWEST) return undefined
    const newest = this.#recent.slice(0, NEWEST)
    const to = middleOf(newest)
    const from = middleOf(this.#recent.slice(NEWEST))
    const onThatSide = newest.filter(cost => (to > from ? cost > from : cost < from)).length
    const isFar = Math.max(to, from) > CHANGED_FACTOR * Math.min(to, from)
    return isFar && onThatSide >= ON_ONE_SIDE ? { from, to } : undefined
  }
}

function middleOf(costs: readonly Nanocredits[]): Nanocredits {
  return costs.toSorted((a, b) => a - b)[Math.floor(costs.length / 2)] ?? 0
}
