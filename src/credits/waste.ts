import { defined } from '../contracts/defined.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import type { CallEntry, LedgerEntry, PurchaseKind, RolledUpCalls } from '../contracts/store.js'

/** A paid call, reduced to the members that the waste report needs. */
export interface PaidCall extends Pick<CallEntry, 'at' | 'day' | 'team' | 'resultId' | 'image' | 'pixelKey'> {
  cost: Nanocredits
  purchase: PurchaseKind
}

/**
 * Reason for spending that was avoidable:
 * - `evicted`: purchased again while still fresh, because the cache had lost the result
 * - `expired`: purchased again after `CACHE_TTL_SECONDS`
 * - `noCache`: the caller refused a cached result
 * - `twice`: purchased by two requests at once, or again after a process died
 * - `samePixels`: the same pixels in another encoding
 * - `oversized`: the image is larger than the model uses
 */
export type WasteKind = 'evicted' | 'expired' | 'noCache' | 'twice' | 'samePixels' | 'oversized'

export const WASTE_KINDS: readonly WasteKind[] = ['evicted', 'expired', 'noCache', 'twice', 'samePixels', 'oversized']

export interface Amount {
  calls: number
  credits: Nanocredits
}

export interface Waste extends Amount {
  teams: Record<string, Amount>
  /** The most expensive results, by id, the most expensive first. */
  top: (Amount & { resultId: string })[]
}

export interface WasteReport {
  /** All paid calls, including unknown ones. */
  paid: Amount
  /** The share of `paid` whose entries were rolled up, so that nothing else is known about them. */
  rolledUp: Amount
  /** Calls before the month that were rolled up, and so are missing among the earlier purchases. */
  rolledUpBefore: number
  /**
   * A kind is absent if no call has the data it needs: its entry, the size of its image, or a digest of
   * its pixels.
   */
  kinds: Partial<Record<WasteKind, Waste>>
  /** The share of `noCache` whose result was still fresh in the cache. */
  freshAgain: Amount
  /** Calls without the size of their image, and calls without a digest of its pixels. */
  withoutSize: number
  withoutPixels: number
  /**
   * Mean cost of large images and of all others. Absent if either group is too small to compare.
   */
  meanCost?: { oversized: Nanocredits; others: Nanocredits }
  /** Bytes of large images beyond the share that the pixels the model uses would need. */
  needlessBytes: number
}

export interface WasteTerms {
  /** The reported month: `2026-11`. */
  month: string
  team?: string | undefined
  /** `CACHE_TTL_SECONDS`, in milliseconds. */
  freshMs: number
}

/** SAM v2 scales every image into 1024 × 1024 pixels. */
export const MODEL_SIDE = 1024
const ENOUGH_TO_COMPARE = 20
const TOP = 5

/** Reduces a ledger entry to its paid call. Undefined for an entry that is only reserved. */
export function paidCallOf(entry: LedgerEntry): PaidCall | undefined {
  const { at, day, team, resultId, settled, purchase = 'first', image, pixelKey } = entry
  if (!settled) return undefined
  return {
    at,
    day,
    team,
    resultId,
    cost: settled.cost,
    purchase,
    ...defined({ image, pixelKey }),
  }
}

/** The last purchase of a result, or of a picture. */
interface LastPurchase extends Pick<PaidCall, 'at' | 'purchase' | 'resultId'> {}

/**
 * Finds the avoidable spending of a month. Remembers one purchase of each result, not every call: a
 * ledger may hold hundreds of thousands of them.
 */
export class WasteSearch {
  readonly #terms: WasteTerms
  readonly #tally = new Tally()
  readonly #lastOf = new Map<string, LastPurchase>()
  readonly #lastWithPixels = new Map<string, LastPurchase>()

  constructor(terms: WasteTerms) {
    this.#terms = terms
  }

  /**
   * Adds calls, in any order, none of them earlier than those before. They must reach back far enough to
   * contain earlier purchases.
   */
  add(calls: readonly PaidCall[]): void {
    for (const call of [...calls].sort((one, other) => one.at - other.at)) this.#add(call)
  }

  /** Adds the calls of a day whose entries were rolled up. */
  addRolledUp(day: string, calls: readonly RolledUpCalls[]): void {
    const { month, team } = this.#terms
    for (const { calls: count, charged, team: payer } of calls) {
      if (!day.startsWith(month)) this.#tally.rolledUpBefore += count
      else if (team === undefined || payer === team) this.#tally.addRolledUp({ calls: count, credits: charged })
    }
  }

  report(): WasteReport {
    return this.#tally.report()
  }

  #add(call: PaidCall): void {
    const { month, team, freshMs } = this.#terms
    const { at, purchase, resultId, pixelKey } = call
    const before = this.#lastOf.get(resultId)
    const samePixels = pixelKey === undefined ? undefined : this.#lastWithPixels.get(pixelKey)
    const last = { at, purchase, resultId }
    this.#lastOf.set(resultId, last)
    if (pixelKey !== undefined) this.#lastWithPixels.set(pixelKey, last)
    if (!call.day.startsWith(month) || (team !== undefined && call.team !== team)) return
    const isFresh = (earlier: LastPurchase | undefined) => earlier !== undefined && at - earlier.at < freshMs
    this.#tally.paid(call)
    const kind = kindOf(call, before, isFresh(before))
    if (kind) this.#tally.wasted(kind, call)
    if (kind === 'noCache' && isFresh(before)) this.#tally.freshAgain(call)
    if (samePixels && samePixels.resultId !== resultId && isFresh(samePixels)) this.#tally.wasted('samePixels', call)
  }
}

function kindOf({ purchase }: PaidCall, before: LastPurchase | undefined, isFresh: boolean): WasteKind | undefined {
  if (purchase === 'no-cache' || purchase === 'no-store') return 'noCache'
  // A result purchased with `no-store` was never in the cache.
  if (!before || before.purchase === 'no-store') return undefined
  if (!isFresh) return 'expired'
  return purchase === 'first' ? 'evicted' : 'twice'
}

/** Adds up the figures of a report. */
class Tally {
  readonly #paid: Amount = { calls: 0, credits: 0 }
  readonly #rolledUp: Amount = { calls: 0, credits: 0 }
  rolledUpBefore = 0
  readonly #again: Amount = { calls: 0, credits: 0 }
  readonly #kinds = new Map<WasteKind, { all: Amount; teams: Map<string, Amount>; results: Map<string, Amount> }>()
  readonly #large: Amount = { calls: 0, credits: 0 }
  readonly #small: Amount = { calls: 0, credits: 0 }
  #withPixels = 0
  #needlessBytes = 0

  paid(call: PaidCall): void {
    count(this.#paid, call)
    if (call.pixelKey !== undefined) this.#withPixels++
    if (!call.image) return
    const { width, height, bytes } = call.image
    const isLarge = Math.max(width, height) > MODEL_SIDE
    count(isLarge ? this.#large : this.#small, call)
    if (!isLarge) return
    this.wasted('oversized', call)
    const scale = MODEL_SIDE / Math.max(width, height)
    this.#needlessBytes += Math.round(bytes * (1 - scale * scale))
  }

  addRolledUp({ calls, credits }: Amount): void {
    for (const sum of [this.#paid, this.#rolledUp]) {
      sum.calls += calls
      sum.credits += credits
    }
  }

  wasted(kind: WasteKind, call: PaidCall): void {
    const sums = this.#kinds.get(kind) ?? { all: { calls: 0, credits: 0 }, teams: new Map(), results: new Map() }
    this.#kinds.set(kind, sums)
    count(sums.all, call)
    count(amountIn(sums.teams, call.team), call)
    count(amountIn(sums.results, call.resultId), call)
  }

  freshAgain(call: PaidCall): void {
    count(this.#again, call)
  }

  report(): WasteReport {
    const entries = this.#paid.calls - this.#rolledUp.calls
    const withoutSize = entries - this.#large.calls - this.#small.calls
    const withoutPixels = entries - this.#withPixels
    const isKnown = (kind: WasteKind) => {
      if (kind === 'oversized') return withoutSize < entries
      if (kind === 'samePixels') return withoutPixels < entries
      return entries > 0 || this.#paid.calls === 0
    }
    const known = WASTE_KINDS.filter(isKnown).map(kind => [kind, this.#wasteOf(kind)])
    const meanCost = meanCosts(this.#large, this.#small)
    return {
      paid: this.#paid,
      rolledUp: this.#rolledUp,
      rolledUpBefore: this.rolledUpBefore,
      kinds: Object.fromEntries(known) as WasteReport['kinds'],
      freshAgain: this.#again,
      withoutSize,
      withoutPixels,
      needlessBytes: this.#needlessBytes,
      ...defined({ meanCost }),
    }
  }

  #wasteOf(kind: WasteKind): Waste {
    const sums = this.#kinds.get(kind)
    if (!sums) return { calls: 0, credits: 0, teams: {}, top: [] }
    const results = [...sums.results].map(([resultId, amount]) => ({ resultId, ...amount }))
    return {
      ...sums.all,
      teams: Object.fromEntries([...sums.teams].sort(([one], [other]) => (one < other ? -1 : 1))),
      top: results.sort((one, other) => other.credits - one.credits).slice(0, TOP),
    }
  }
}

function meanCosts(large: Amount, small: Amount): WasteReport['meanCost'] {
  if (large.calls < ENOUGH_TO_COMPARE || small.calls < ENOUGH_TO_COMPARE) return undefined
  return { oversized: Math.round(large.credits / large.calls), others: Math.round(small.credits / small.calls) }
}

function count(amount: Amount, { cost }: PaidCall): void {
  amount.calls++
  amount.credits += cost
}

function amountIn(amounts: Map<string, Amount>, name: string): Amount {
  const known = amounts.get(name) ?? { calls: 0, credits: 0 }
  amounts.set(name, known)
  return known
}
