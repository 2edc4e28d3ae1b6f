import type { ImplausibleFigure } from '../../contracts/account.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { LedgerTotals } from '../../contracts/store.js'
import { sinceAnchor } from './reconcile.js'
import type { Anchor } from './record.js'

/** A balance that Segmind reported: in a response header, or as the answer of the balance endpoint. */
export interface ReportedBalance {
  source: 'header' | 'endpoint'
  remaining: Nanocredits
  /** The free credits in `remaining`; only the endpoint states them. */
  free?: Nanocredits
  /** The ledger's totals after the response. */
  totals: LedgerTotals
  /** Calls that only one of balance and totals may contain. */
  overlap: number
}

export interface PlausibilityOptions {
  /** The last reconciled balance, as this replica knows it. */
  anchor(): Anchor | undefined
  /** Reads the anchor that replicas share. Never rejects. */
  refreshAnchor(): Promise<void>
  /** Upper bound on the cost of one call. */
  maxCost: Nanocredits
  /** Called for a balance that the next one contradicts. */
  onRefuted(figure: ImplausibleFigure): void
}

/** Nanocredits by which two figures of Segmind may be rounded. */
const ROUNDING = 2

interface Held {
  reported: ReportedBalance
  expected: Nanocredits
  unexplained: Nanocredits
}

/**
 * Weighs balances against the ledger. A balance that the booked calls do not explain is held back
 * until a second response confirms it, so that one wrong figure moves nothing.
 *
 * Learns which quantity the header carries: it may leave out the free credits, which the endpoint
 * states. Such headers are ignored while there are free credits.
 */
export class BalancePlausibility {
  readonly #options: PlausibilityOptions
  #held: Held | undefined
  #free: Nanocredits = 0
  #headerOmitsFree: boolean | undefined

  constructor(options: PlausibilityOptions) {
    this.#options = options
  }

  /** False while a balance in a header cannot be compared with one from the endpoint. */
  get isHeaderComparable(): boolean {
    return this.#free === 0 || this.#headerOmitsFree === false
  }

  /** Returns whether the balance is plausible or confirmed; `held` if another response must confirm it. */
  async weigh(reported: ReportedBalance): Promise<'plausible' | 'held' | 'ignored'> {
    if (reported.source === 'endpoint') this.#free = reported.free ?? 0
    else if (this.#headerOmitsFree && this.#free > 0) return 'ignored'
    if (this.#isExplained(reported)) return this.#accept(reported)
    // Another replica may have confirmed the difference already.
    await this.#options.refreshAnchor()
    if (this.#isExplained(reported)) return this.#accept(reported)
    if (this.#omitsFree(reported)) {
      this.#headerOmitsFree = true
      return 'ignored'
    }
    return this.#hold(reported)
  }

  #accept(reported: ReportedBalance): 'plausible' {
    const { slack } = this.#expectedOf(reported)
    if (reported.source === 'header' && this.#free > 2 * slack) this.#headerOmitsFree = false
    const before = this.#held
    this.#held = undefined
    // The balance held back may be explained by now: another replica had it confirmed.
    if (before && !this.#isExplained(before.reported, slack)) this.#refute(before)
    return 'plausible'
  }

  #hold(reported: ReportedBalance): 'plausible' | 'held' {
    const { remaining: expected, slack } = this.#expectedOf(reported)
    const held = { reported, expected, unexplained: expected - reported.remaining }
    const before = this.#held
    this.#held = undefined
    if (before && this.#confirms(before, held, slack)) return 'plausible'
    if (before) this.#refute(before)
    this.#held = held
    return 'held'
  }

  /** Two differences agree if calls between them, or half of them, explain how they differ. */
  #confirms(before: Held, now: Held, slack: Nanocredits): boolean {
    const [one, other] = [before.unexplained, now.unexplained]
    const smaller = Math.min(Math.abs(one), Math.abs(other))
    return Math.sign(one) === Math.sign(other) && Math.abs(one - other) <= slack + this.#options.maxCost + smaller
  }

  #refute({ reported, expected }: Held): void {
    this.#options.onRefuted({ figure: 'balance', claimed: reported.remaining, expected })
  }

  #isExplained(reported: ReportedBalance, moreSlack = 0): boolean {
    if (!this.#options.anchor()) return true
    const { remaining, slack } = this.#expectedOf(reported)
    return Math.abs(remaining - reported.remaining) <= slack + moreSlack
  }

  #omitsFree(reported: ReportedBalance): boolean {
    const { remaining, slack } = this.#expectedOf(reported)
    const missing = remaining - reported.remaining
    return reported.source === 'header' && this.#free > 2 * slack && Math.abs(missing - this.#free) <= slack
  }

  #expectedOf({ remaining, totals, overlap }: ReportedBalance): { remaining: Nanocredits; slack: Nanocredits } {
    const anchor = this.#options.anchor()
    return anchor
      ? expectedBalance(anchor, totals, { overlap, maxCost: this.#options.maxCost })
      : { remaining, slack: 0 }
  }
}

/** Returns the balance that the booked calls let expect, and by how much it may differ. */
function expectedBalance(
  anchor: Anchor,
  totals: LedgerTotals,
  { overlap, maxCost }: { overlap: number; maxCost: Nanocredits },
): { remaining: Nanocredits; slack: Nanocredits } {
  const { estimated, rounding } = sinceAnchor(anchor, totals)
  const slack = rounding + (overlap + estimated) * maxCost + (anchor.loose?.slack ?? 0)
  return { remaining: anchor.remaining - (totals.spent - anchor.spent), slack }
}

/** Tells whether a balance has dropped by the cost of a call that is not booked yet. */
export function explainsCost(
  cost: Nanocredits,
  remaining: Nanocredits,
  { anchor, totals, maxCost }: { anchor: Anchor; totals: LedgerTotals; maxCost: Nanocredits },
): boolean {
  // Other calls in flight may be in the balance already.
  const expected = expectedBalance(anchor, totals, { overlap: totals.reservedCalls, maxCost })
  const dropped = expected.remaining - remaining
  return dropped >= cost - ROUNDING && dropped <= cost + expected.slack
}
