import type { Nanocredits } from '../nanocredits.js'
import type { LedgerEntry } from '../storage.js'

/** What one call of the ledger tells about waste. */
export interface PaidCall {
  at: number
  day: string
  team: string
  resultId: string
  cost: Nanocredits
  purchase: NonNullable<LedgerEntry['purchase']>
  image?: { width: number; height: number; bytes: number }
  pixelKey?: string
}

/**
 * Why credits went that need not have gone. `evicted`: bought again though it had been bought and was still fresh: the cache had lost it ·
 * `expired`: bought again since `CACHE_TTL_SECONDS` were over · `noCache`: the caller wanted no cached answer · `twice`: bought by two at once,
 * or again after a process died · `samePixels`: the same picture under other bytes · `oversized`: larger than the model looks at.
 */
export type WasteKind = 'evicted' | 'expired' | 'noCache' | 'twice' | 'samePixels' | 'oversized'

export const WASTE_KINDS: readonly WasteKind[] = ['evicted', 'expired', 'noCache', 'twice', 'samePixels', 'oversized']

export interface Amount {
  calls: number
  credits: Nanocredits
}

export interface Waste extends Amount {
  teams: Record<string, Amount>
  /** What it was spent on, the dearest first: ids of results. */
  top: (Amount & { resultId: string })[]
}

export interface WasteReport {
  /** Everything that was paid, unknown calls included. */
  paid: Amount
  /** A kind is absent where it cannot be known: no call says how large its image was, or has a digest of its pixels. */
  kinds: Partial<Record<WasteKind, Waste>>
  /** Of `noCache`, what asked again for an answer that was still fresh. */
  freshAgain: Amount
  /** Calls that do not say how large their image was, and that have no digest of its pixels. */
  withoutSize: number
  withoutPixels: number
  /** The mean cost of large images beside that of the others; absent while either are too few to compare. */
  meanCost?: { oversized: Nanocredits; others: Nanocredits }
  /** Bytes of large images beyond what as many pixels as the model looks at would have taken, in proportion. */
  needlessBytes: number
}

export interface WasteTerms {
  /** The days that are reported begin with it: `2026-11`. */
  month: string
  team?: string | undefined
  /** `CACHE_TTL_SECONDS`, in milliseconds. */
  freshMs: number
}

/** SAM v2 looks at a picture of 1024 × 1024, into which it scales every image. */
export const MODEL_SIDE = 1024
const ENOUGH_TO_COMPARE = 20
const TOP = 5

/** What is kept of an entry; nothing of one that is only reserved. */
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
    ...(image && { image }),
    ...(pixelKey && { pixelKey }),
  }
}

/** Reports what was wasted in a month. `calls` begin early enough before it to know what was bought already; in any order. */
export function wasteOf(calls: readonly PaidCall[], terms: WasteTerms): WasteReport {
  const tally = new Tally()
  const lastOf = new Map<string, PaidCall>()
  const picturesOf = new Map<string, PaidCall>()
  for (const call of [...calls].sort((one, other) => one.at - other.at)) {
    const before = lastOf.get(call.resultId)
    const picture = call.pixelKey === undefined ? undefined : picturesOf.get(call.pixelKey)
    lastOf.set(call.resultId, call)
    if (call.pixelKey !== undefined) picturesOf.set(call.pixelKey, call)
    if (!call.day.startsWith(terms.month) || (terms.team !== undefined && call.team !== terms.team)) continue
    const isFresh = (earlier: PaidCall | undefined) => earlier !== undefined && call.at - earlier.at < terms.freshMs
    tally.paid(call)
    const kind = kindOf(call, before, isFresh(before))
    if (kind) tally.wasted(kind, call)
    if (kind === 'noCache' && isFresh(before)) tally.freshAgain(call)
    if (picture && picture.resultId !== call.resultId && isFresh(picture)) tally.wasted('samePixels', call)
  }
  return tally.report()
}

function kindOf({ purchase }: PaidCall, before: PaidCall | undefined, isFresh: boolean): WasteKind | undefined {
  if (purchase === 'no-cache' || purchase === 'no-store') return 'noCache'
  // What was bought with `no-store` was never there to be found.
  if (!before || before.purchase === 'no-store') return undefined
  if (!isFresh) return 'expired'
  return purchase === 'first' ? 'evicted' : 'twice'
}

/** Adds up a report. */
class Tally {
  readonly #paid: Amount = { calls: 0, credits: 0 }
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

  wasted(kind: WasteKind, call: PaidCall): void {
    const of = this.#kinds.get(kind) ?? { all: { calls: 0, credits: 0 }, teams: new Map(), results: new Map() }
    this.#kinds.set(kind, of)
    count(of.all, call)
    count(amountIn(of.teams, call.team), call)
    count(amountIn(of.results, call.resultId), call)
  }

  freshAgain(call: PaidCall): void {
    count(this.#again, call)
  }

  report(): WasteReport {
    const withoutSize = this.#paid.calls - this.#large.calls - this.#small.calls
    const withoutPixels = this.#paid.calls - this.#withPixels
    const isKnown = (kind: WasteKind) => {
      if (kind === 'oversized') return withoutSize < this.#paid.calls
      return kind !== 'samePixels' || withoutPixels < this.#paid.calls
    }
    const known = WASTE_KINDS.filter(isKnown).map(kind => [kind, this.#wasteOf(kind)])
    const mean = meanCosts(this.#large, this.#small)
    return {
      paid: this.#paid,
      kinds: Object.fromEntries(known) as WasteReport['kinds'],
      freshAgain: this.#again,
      ...{ withoutSize, withoutPixels, needlessBytes: this.#needlessBytes },
      ...(mean && { meanCost: mean }),
    }
  }

  #wasteOf(kind: WasteKind): Waste {
    const of = this.#kinds.get(kind)
    if (!of) return { calls: 0, credits: 0, teams: {}, top: [] }
    const results = [...of.results].map(([resultId, amount]) => ({ resultId, ...amount }))
    return {
      ...of.all,
      teams: Object.fromEntries([...of.teams].sort(([one], [other]) => (one < other ? -1 : 1))),
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
