import type { PriceChange } from '../../contracts/account.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'

/** Number of recent costs the estimate is based on, and the number required before they count. */
export const REMEMBERED = 200
const ENOUGH = 10
/** Share of recent calls that cost no more than the estimate. */
const QUANTILE = 0.95
/**
 * Bound on the estimate, relative to the configured one, so that one odd cost neither frees nor
 * blocks a budget.
 */
const MAX_FACTOR = 10
/**
 * The price has changed if the median of the last `NEWEST` costs differs from the earlier median by
 * `CHANGED_FACTOR`, and at least `ON_ONE_SIDE` of them are on the same side of it. Random variation
 * is on both sides.
 */
const NEWEST = 20
const ON_ONE_SIDE = 18
const CHANGED_FACTOR = 1.2

/**
 * Estimates the cost of a call: `PRICE_ESTIMATE_CREDITS` until enough costs are known, then a high
 * quantile of the recent ones or, after a price change, of those since the change. Never 0.
 */
export class PriceEstimate {
  /** Upper bound on the cost of one call. */
  readonly max: Nanocredits
  readonly #configured: Nanocredits
  /** The newest first. */
  #recent: readonly Nanocredits[] = []
  /** Of `#recent`; computed when it is first requested. */
  #current: Nanocredits | undefined

  constructor(configured: Nanocredits) {
    this.#configured = configured
    this.max = configured * MAX_FACTOR
  }

  /** Adds a cost that Segmind reported. */
  learn(cost: Nanocredits): void {
    this.#recent = [cost, ...this.#recent].slice(0, REMEMBERED)
    this.#current = undefined
  }

  /** Replaces the costs by those of all replicas, the newest first. */
  adopt(costs: readonly Nanocredits[]): void {
    if (costs.length === 0) return
    this.#recent = costs.slice(0, REMEMBERED)
    this.#current = undefined
  }

  current(): Nanocredits {
    this.#current ??= this.#estimate()
    return this.#current
  }

  #estimate(): Nanocredits {
    const costs = this.change ? this.#recent.slice(0, NEWEST) : this.#recent
    if (costs.length < ENOUGH) return this.#configured
    const sorted = costs.toSorted((a, b) => a - b)
    const seen = sorted[Math.ceil(sorted.length * QUANTILE) - 1] ?? this.#configured
    return Math.max(1, Math.round(Math.min(this.max, Math.max(this.#configured / MAX_FACTOR, seen))))
  }

  /** Undefined while the price is unchanged. */
  get change(): PriceChange | undefined {
    if (this.#recent.length < 2 * NEWEST) return undefined
    const newest = this.#recent.slice(0, NEWEST)
    const to = medianOf(newest)
    const from = medianOf(this.#recent.slice(NEWEST))
    const onThatSide = newest.filter(cost => (to > from ? cost > from : cost < from)).length
    const isFar = Math.max(to, from) > CHANGED_FACTOR * Math.min(to, from)
    return isFar && onThatSide >= ON_ONE_SIDE ? { from, to } : undefined
  }
}

function medianOf(costs: readonly Nanocredits[]): Nanocredits {
  return costs.toSorted((a, b) => a - b)[Math.floor(costs.length / 2)] ?? 0
}
