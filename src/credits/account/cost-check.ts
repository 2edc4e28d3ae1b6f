import type { AccountBalance } from '../../contracts/account.js'
import { withDeadline } from '../../contracts/deadline.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { LedgerStore, LedgerTotals } from '../../contracts/store.js'
import { type CostBounds, slackOf } from './reconcile.js'
import type { AccountRecord, Anchor } from './record.js'

export interface CostCheckOptions {
  /** The record that replicas share, as last read. */
  record(): Pick<AccountRecord, 'anchor'> | undefined
  bounds(): CostBounds
  store: Pick<LedgerStore, 'totals'>
  requestBalance(): Promise<AccountBalance>
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
   * Tells whether a cost is in the range of the learned price, or the balance has dropped by it, as the
   * endpoint states it now. The call must not be booked yet. Never rejects.
   */
  async isPlausible(cost: Nanocredits): Promise<boolean> {
    const { record, bounds } = this.#options
    if (cost < IMPLAUSIBLE_FACTOR * bounds().estimate) return true
    const anchor = record()?.anchor
    const [balance, totals] = (anchor && (await withDeadline(this.#ask(), BALANCE_WAIT_MS, () => undefined))) ?? []
    return balance && totals && anchor
      ? explainsCost(cost, balance.remaining, { anchor, totals, bounds: bounds() })
      : false
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
  { anchor, totals, bounds }: { anchor: Anchor; totals: LedgerTotals; bounds: CostBounds },
): boolean {
  const slack = slackOf(anchor, totals, { overlap: 0, ...bounds })
  const dropped = anchor.remaining - (totals.spent - anchor.spent) - remaining
  // Other calls in flight may be in the balance already, and may be as dear.
  const most = cost + slack + totals.reservedCalls * Math.max(bounds.maxCost, cost)
  return dropped >= Math.max(cost - slack - ROUNDING, cost / 2) && dropped <= most
}
