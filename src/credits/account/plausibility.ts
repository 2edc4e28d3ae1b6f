import type { AccountBalance, ImplausibleFigure } from '../../contracts/account.js'
import { withDeadline } from '../../contracts/deadline.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { LedgerStore, LedgerTotals } from '../../contracts/store.js'
import { type CallPrice, isBeforeMovement, slackOf } from './reconcile.js'
import type { AccountRecord, Anchor } from './record.js'

/**
 * A balance that Segmind reported: in a response header, or as the answer of the balance endpoint.
 */
export interface ReportedBalance {
  source: 'header' | 'endpoint'
  remaining: Nanocredits
  /** The free credits in `remaining`; only the endpoint states them. */
  free?: Nanocredits
  /** The ledger's totals after the response. */
  totals: LedgerTotals
  /** Calls that only one of balance and totals may contain. */
  overlap: number
  /** Times of the request and of the response, milliseconds since 1970. */
  since: number
  at: number
}

export interface PlausibilityOptions {
  reconciler: {
    /** The last reconciled balance, as this replica knows it. */
    readonly record: Pick<AccountRecord, 'anchor' | 'movedAt'> | undefined
    /** Reads the record that replicas share. Never rejects. */
    refresh(): Promise<void>
  }
  price: CallPrice
  /** Called for a balance that the next one contradicts. */
  onRefuted(figure: ImplausibleFigure): void
}

interface Held {
  reported: ReportedBalance
  expected: Nanocredits
  unexplained: Nanocredits
  /** Responses so far that state this difference. */
  responses: number
}

/**
 * Responses that confirm a difference without an answer of the endpoint: two may be wrong alike.
 */
const ENOUGH_HEADERS = 3

/**
 * `plausible`: to be used. `held`: another response must confirm it. `ignored`: it says nothing
 * about the balance as it is now.
 */
export type BalanceVerdict = 'plausible' | 'held' | 'ignored'

/**
 * Weighs balances against the ledger. A balance that the booked calls do not explain is held back
 * until the endpoint, or the headers of two more responses, confirm it. So one wrong figure moves
 * nothing.
 *
 * Learns which quantity the header carries: it may leave out the free credits, which the endpoint
 * states. Such headers are ignored while there are free credits.
 */
export class BalancePlausibility {
  readonly #options: PlausibilityOptions
  #held: Held | undefined
  /** Undefined until the endpoint has answered. */
  #free: Nanocredits | undefined
  #headerOmitsFree: boolean | undefined

  constructor(options: PlausibilityOptions) {
    this.#options = options
  }

  /** False while a balance in a header cannot be compared with one from the endpoint. */
  get isHeaderComparable(): boolean {
    return this.#free === 0 || this.#headerOmitsFree === false
  }

  /** True while a balance waits for another response that confirms or refutes it. */
  get isInDoubt(): boolean {
    return this.#held !== undefined
  }

  async weigh(reported: ReportedBalance): Promise<BalanceVerdict> {
    if (reported.source === 'endpoint') this.#free = reported.free ?? 0
    else if (this.#headerOmitsFree && this.#free !== 0) return 'ignored'
    const { reconciler } = this.#options
    // Another replica may have had it confirmed. Then a balance that agrees with the old record
    // refutes nothing.
    if (this.#held) await reconciler.refresh()
    if (this.#isExplained(reported)) return this.#accept(reported)
    // Another replica may have confirmed the difference already.
    await reconciler.refresh()
    const { record } = reconciler
    if (record && isBeforeMovement(reported, record)) return 'ignored'
    if (this.#isExplained(reported)) return this.#accept(reported)
    // Free credits may explain it. The endpoint has not stated them yet.
    if (reported.source === 'header' && this.#free === undefined) return 'held'
    return this.#omitsFree(reported) ? 'ignored' : this.#hold(reported)
  }

  #accept(reported: ReportedBalance): BalanceVerdict {
    const { slack } = this.#expectedOf(reported)
    const { source, since } = reported
    if (source === 'header' && this.#free !== undefined && this.#free > 2 * slack) this.#headerOmitsFree = false
    const before = this.#held
    if (!before) return 'plausible'
    // A call that began before the balance moved does not show the movement.
    if (since <= before.reported.at && source === 'header') return 'ignored'
    // One that fits only because so much was in flight decides nothing.
    if (Math.abs(before.unexplained) <= slack) return 'plausible'
    this.#held = undefined
    this.#refute(before, slack)
    return 'plausible'
  }

  #hold(reported: ReportedBalance): BalanceVerdict {
    const { remaining: expected, slack } = this.#expectedOf(reported)
    const before = this.#held
    const now = { reported, expected, unexplained: expected - reported.remaining, responses: 1 }
    this.#held = now
    if (!before) return 'held'
    if (!this.#agree(before, now, slack)) {
      this.#refute(before, slack)
      return 'held'
    }
    now.responses += before.responses
    if (!hasEndpoint(before, now) && now.responses < ENOUGH_HEADERS) return 'held'
    this.#held = undefined
    return 'plausible'
  }

  /**
   * Two differences agree if calls between them explain how they differ. If the endpoint stated one
   * of them, spending by others may explain up to half. Two headers must state the same difference:
   * each may be wrong by its own amount.
   */
  #agree(before: Held, now: Held, slack: Nanocredits): boolean {
    const [one, other] = [before.unexplained, now.unexplained]
    const spentByOthers = hasEndpoint(before, now) ? Math.min(Math.abs(one), Math.abs(other)) : 0
    const most = slack + this.#options.price.max + spentByOthers
    return Math.sign(one) === Math.sign(other) && Math.abs(one - other) <= most
  }

  /**
   * Reports a balance that was held back, unless it is explained by now: another replica had it
   * confirmed.
   */
  #refute({ reported, expected }: Held, slack: Nanocredits): void {
    if (this.#isExplained(reported, slack)) return
    this.#options.onRefuted({ figure: 'balance', claimed: reported.remaining, expected })
  }

  #isExplained(reported: ReportedBalance, moreSlack = 0): boolean {
    const { remaining, slack } = this.#expectedOf(reported)
    return Math.abs(remaining - reported.remaining) <= slack + moreSlack
  }

  /** Tells whether a header lacks the free credits. */
  #omitsFree(reported: ReportedBalance): boolean {
    if (reported.source === 'endpoint' || !this.#free) return false
    const { remaining, slack } = this.#expectedOf(reported)
    const missing = remaining - reported.remaining
    if (Math.abs(missing - this.#free) > slack) return false
    // Calls in flight may explain it as well; then nothing is learned.
    if (this.#free > 2 * slack) this.#headerOmitsFree = true
    return true
  }

  #expectedOf({ remaining, totals, overlap }: ReportedBalance): { remaining: Nanocredits; slack: Nanocredits } {
    const { reconciler, price } = this.#options
    const anchor = reconciler.record?.anchor
    if (!anchor) return { remaining, slack: 0 }
    const slack = slackOf(anchor, totals, { overlap, price })
    return { remaining: anchor.remaining - (totals.spent - anchor.spent), slack }
  }
}

function hasEndpoint(...held: readonly Held[]): boolean {
  return held.some(({ reported }) => reported.source === 'endpoint')
}

export interface CostCheckOptions extends Pick<PlausibilityOptions, 'reconciler' | 'price'> {
  store: Pick<LedgerStore, 'totals'>
  requestBalance(): Promise<AccountBalance>
  /** True while Segmind's request history is read, which states the exact cost of a call. */
  isHistoryRead(): boolean
}

/** A cost of this many times the learned price is believed only if the balance explains it. */
const IMPLAUSIBLE_FACTOR = 10
/** Longest wait for the balance. */
const BALANCE_WAIT_MS = 3_000
/** Nanocredits by which two figures of Segmind may be rounded. */
const ROUNDING = 2

/** Weighs the costs that Segmind states against the learned price and the balance. */
export class CostCheck {
  readonly #options: CostCheckOptions
  #asking: Promise<[AccountBalance, LedgerTotals] | undefined> | undefined

  constructor(options: CostCheckOptions) {
    this.#options = options
  }

  /**
   * Tells whether a cost is in the range of the learned price, or the balance has dropped by it, as
   * the endpoint states it now. Others may have spent as much at the same time, so the balance
   * decides only without the request history. The call must not be booked yet. Never rejects.
   */
  async isPlausible(cost: Nanocredits): Promise<boolean> {
    const { reconciler, price, isHistoryRead } = this.#options
    if (cost < IMPLAUSIBLE_FACTOR * price.current()) return true
    if (isHistoryRead()) return false
    // Another replica may have recorded what others spent. The old record would take that for the
    // cost.
    await reconciler.refresh()
    const anchor = reconciler.record?.anchor
    const [balance, totals] = (anchor && (await withDeadline(this.#ask(), BALANCE_WAIT_MS, () => undefined))) ?? []
    return balance && totals && anchor ? explainsCost(cost, balance.remaining, { anchor, totals, price }) : false
  }

  /** Calls that end together share the request. */
  #ask(): Promise<[AccountBalance, LedgerTotals] | undefined> {
    const { store, requestBalance } = this.#options
    this.#asking ??= Promise.all([requestBalance(), store.totals()])
      .catch(() => undefined)
      .finally(() => {
        this.#asking = undefined
      })
    return this.#asking
  }
}

/** Tells whether a balance has dropped by the cost of a call that is not booked yet. */
function explainsCost(
  cost: Nanocredits,
  remaining: Nanocredits,
  { anchor, totals, price }: { anchor: Anchor; totals: LedgerTotals; price: CallPrice },
): boolean {
  const slack = slackOf(anchor, totals, { overlap: 0, price })
  const dropped = anchor.remaining - (totals.spent - anchor.spent) - remaining
  // The other calls in flight may be in the balance already, and may be as dear.
  const others = Math.max(0, totals.reservedCalls - 1)
  const most = cost + slack + others * Math.max(price.max, cost)
  return dropped >= Math.max(cost - slack - ROUNDING, cost / 2) && dropped <= most
}
