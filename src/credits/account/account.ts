import type { AccountBalance, Burn, ImplausibleFigure, Runway } from '../../contracts/account.js'
import type { Clock } from '../../contracts/clock.js'
import { withDeadline } from '../../contracts/deadline.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { HistoryStatus } from '../../contracts/request-history.js'
import type { CallEntry, LedgerStore, LedgerTotals, RecordStore } from '../../contracts/store.js'
import type { CreditsObserver } from '../observer.js'
import type { BudgetCalendar } from '../windows.js'
import { Balance, type BalanceAnswer } from './balance.js'
import { SharedCreditState } from './credit-state.js'
import { CreditGate } from './gate.js'
import { AccountHistory } from './history.js'
import { BalancePlausibility, CostCheck } from './plausibility.js'
import { PriceEstimate } from './price.js'
import { overlapOf } from './reconcile.js'
import { Reconciler } from './reconciler.js'
import { burnOf, runwayOf } from './runway.js'

export interface AccountOptions {
  store: LedgerStore
  records: RecordStore
  calendar: BudgetCalendar
  /** `PRICE_ESTIMATE_CREDITS`, `RESERVE_CREDITS`. */
  priceEstimate: Nanocredits
  reserve: Nanocredits
  /** Requests the balance from Segmind's free endpoint. */
  requestBalance(): Promise<AccountBalance>
  now: Clock
  /** False while the ledger may lack steps that have happened. */
  isSettled(): boolean
  /** Runs `work` after a time in milliseconds, unless the process ends before. Default: a timer. */
  later?: ((work: () => void, ms: number) => void) | undefined
  observer: CreditsObserver
}

/** A balance that the response of a call reported, with the totals around the call if known. */
export interface BalanceReport {
  remaining: Nanocredits
  /** Time of the call, milliseconds since 1970. */
  since: number
  /**
   * The totals after the call's reservation, and after its end. `notes`: the call's own steps
   * between the two.
   */
  reserved: LedgerTotals | undefined
  ended: LedgerTotals | undefined
  notes: number
}

/** A balance in a header, with the totals after its call. */
type HeaderBalance = Pick<BalanceReport, 'remaining' | 'since' | 'ended'> & { at: number; overlap: number | undefined }

/** Calls assumed to be in flight where their number is unknown. */
const UNKNOWN_OVERLAP = 8
/** Wait before another request confirms or refutes an implausible answer of the endpoint. */
const CONFIRM_MS = 2_000
/** Shortest interval of requests for the balance that a header causes. */
const CONFIRM_EVERY_MS = 10_000
/** Longest wait for a balance that a decision depends on. */
const BALANCE_WAIT_MS = 3_000
/** Largest age of the balance before a call from which the cost of the call may be derived. */
const DELTA_AGE_MS = 600_000
/**
 * Largest such cost, as a multiple of the learned price. A larger drop may include a call of a
 * replica that the store cannot see.
 */
const MOST_BY_BALANCE = 1.5

/** The account behind the shared key: balance, burn, credit state, comparison with the ledger. */
export class Account {
  readonly price: PriceEstimate
  readonly balance: Balance
  readonly state: SharedCreditState
  readonly gate: CreditGate
  readonly reconciler: Reconciler
  /** Present while Segmind's request history may be read. */
  requestHistory: { readonly status: Pick<HistoryStatus, 'state'> } | undefined
  readonly #history: AccountHistory
  readonly #plausibility: BalancePlausibility
  readonly #costs: CostCheck
  readonly #options: AccountOptions
  readonly #later: NonNullable<AccountOptions['later']>
  #burn: Burn = {}
  /** Reserved for calls in flight, as last read. */
  #reserved: Nanocredits = 0
  #refreshing: Promise<void> | undefined
  readonly #work = new Set<Promise<unknown>>()
  #confirmedAt = Number.NEGATIVE_INFINITY
  /** A request that confirms or refutes a balance waits for the end of the interval. */
  #mustConfirm = false

  constructor(options: AccountOptions) {
    const { records, reserve, priceEstimate, observer, now } = options
    this.#options = options
    this.#later = options.later ?? ((work, ms) => void setTimeout(work, ms).unref())
    this.price = new PriceEstimate(priceEstimate)
    this.state = new SharedCreditState({ records, reserve, price: this.price, observer })
    this.balance = this.#openBalance()
    this.gate = new CreditGate({
      state: this.state,
      balance: this.balance,
      currentBalance: () => this.currentBalance(),
      price: this.price,
      now,
    })
    this.reconciler = this.#openReconciler()
    this.#plausibility = new BalancePlausibility({
      reconciler: this.reconciler,
      price: this.price,
      onRefuted: figure => this.#implausible(figure),
    })
    this.#costs = new CostCheck({
      reconciler: this.reconciler,
      price: this.price,
      store: options.store,
      requestBalance: options.requestBalance,
      isHistoryRead: () => this.requestHistory?.status.state === 'on',
    })
    this.#history = new AccountHistory({ records, now, observer })
  }

  /** Burn over the last hour, day and week, as far as known. */
  get burn(): Burn {
    return this.#burn
  }

  /** Undefined while balance or burn is unknown. */
  get runway(): Runway | undefined {
    return runwayOf(this.balance.latest?.remaining, this.#burn, this.#options.now())
  }

  /**
   * Credits that left the account since the first balance and are booked to no team. Undefined
   * before that balance.
   */
  get drift(): Nanocredits | undefined {
    return this.reconciler.record?.drift
  }

  /** Reads the state that replicas share, and the balance if it is out of date. Never rejects. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  /**
   * Takes a balance that a response reported, if it is plausible. Resolves once the balance is
   * shared. The comparison with the ledger continues in the background.
   */
  async balanceReported({ remaining, since, reserved, ended, notes }: BalanceReport): Promise<void> {
    const at = this.#options.now()
    const overlap = overlapOf(reserved, ended, notes)
    if (ended) this.#reserved = ended.reserved
    if (!(await this.#isPlausibleHeader({ remaining, since, at, ended, overlap }))) return
    const shared = this.balance.record({ remaining, at, since, slack: (overlap ?? UNKNOWN_OVERLAP) * this.price.max })
    if (ended && overlap !== undefined)
      this.#inBackground(this.reconciler.observe({ remaining, at, since, totals: ended, overlap }))
    await shared
  }

  /** Tells whether a cost that Segmind stated is believed, and reports one that is not. */
  async isPlausibleCost(cost: Nanocredits, { day, callId, estimate }: CallEntry): Promise<boolean> {
    if (await this.#costs.isPlausible(cost)) return true
    this.#implausible({ figure: 'cost', claimed: cost, expected: estimate, call: { day, callId } })
    return false
  }

  /** Requests the balance now. Undefined while it is in doubt, or if no recent answer states it. */
  async currentBalance(): Promise<Nanocredits | undefined> {
    await withDeadline(this.balance.refresh({ mustRequest: true }), BALANCE_WAIT_MS, () => undefined)
    const isKnown = this.balance.state === 'fresh' && !this.#plausibility.isInDoubt
    return isKnown ? this.balance.latest?.remaining : undefined
  }

  /**
   * Derives the cost of a call from the drop of the balance. Undefined unless the call was the only
   * one in flight, the balance before it is known, and the ledger has every step.
   */
  async costFromBalance(
    remaining: Nanocredits,
    reserved: LedgerTotals,
    notes: number,
  ): Promise<Nanocredits | undefined> {
    const before = this.reconciler.record?.anchor
    const isKnown =
      this.#options.isSettled() &&
      this.#plausibility.isHeaderComparable &&
      before &&
      !before.loose &&
      before.sequence === reserved.sequence - 1 &&
      reserved.reservedCalls === 1
    if (!isKnown || this.#options.now() - before.at > DELTA_AGE_MS) return undefined
    const now = await this.#options.store.totals().catch(() => undefined)
    const cost = before.remaining - remaining
    const isLikely = cost > 0 && cost <= MOST_BY_BALANCE * this.price.current()
    return isLikely && now?.sequence === reserved.sequence + notes ? cost : undefined
  }

  /** Resolves once no background work is left. */
  async idle(): Promise<void> {
    await this.#refreshing
    while (this.#work.size > 0) await Promise.all(this.#work)
  }

  async #refresh(): Promise<void> {
    const { store, observer } = this.#options
    try {
      this.price.adopt(await store.recentCosts())
    } catch (error) {
      observer.storeFailed(error, 'price: read')
    }
    await Promise.all([this.state.refresh(), this.reconciler.refresh()])
    await this.balance.refresh()
    const { change } = this.price
    if (change) await this.reconciler.recordPriceChange(change.from, change.to)
    await this.#measure()
  }

  async #measure(): Promise<void> {
    const { store, now, observer } = this.#options
    try {
      const { spent, reserved, reservedCalls } = await store.totals()
      this.#reserved = reserved
      const outflow = spent + (this.drift ?? 0)
      await this.#history.record({ remaining: this.balance.latest?.remaining, inFlight: reservedCalls, outflow })
      this.#burn = burnOf(this.#history.outflows, { at: now(), outflow })
    } catch (error) {
      observer.storeFailed(error, 'burn: read')
    }
  }

  async #isPlausibleHeader({ remaining, since, at, ended, overlap }: HeaderBalance): Promise<boolean> {
    const { latest } = this.balance
    // Without the ledger, the last balance is all there is to compare with.
    if (!ended) return !latest || Math.abs(latest.remaining - remaining) <= UNKNOWN_OVERLAP * this.price.max
    const atMost = overlap ?? UNKNOWN_OVERLAP + ended.reservedCalls
    const reported = { source: 'header', remaining, totals: ended, overlap: atMost, since, at } as const
    const verdict = await this.#plausibility.weigh(reported)
    if (verdict === 'held') this.#confirm()
    return verdict === 'plausible'
  }

  /** Requests the balance, which confirms or refutes what is held back; at most once in a while. */
  #confirm(): void {
    if (this.#mustConfirm) return
    // The clock may have been set back.
    const waitMs = CONFIRM_EVERY_MS - Math.abs(this.#options.now() - this.#confirmedAt)
    this.#mustConfirm = waitMs > 0
    if (this.#mustConfirm) this.#later(() => this.#confirmNow(), waitMs)
    else this.#confirmNow()
  }

  #confirmNow(): void {
    this.#mustConfirm = false
    this.#confirmedAt = this.#options.now()
    this.#inBackground(this.balance.refresh({ mustRequest: true }))
  }

  #implausible(figure: ImplausibleFigure): void {
    this.#options.observer.figureImplausible(figure)
    this.#inBackground(this.reconciler.recordImplausible(figure))
  }

  async #isPlausibleAnswer(answer: BalanceAnswer): Promise<boolean> {
    this.#reserved = answer.totals.reserved
    const verdict = await this.#plausibility.weigh({ source: 'endpoint', ...answer })
    if (verdict === 'held')
      this.#later(() => this.#inBackground(this.balance.refresh({ mustRequest: true })), CONFIRM_MS)
    return verdict === 'plausible'
  }

  #openBalance(): Balance {
    const { store, now, requestBalance, observer } = this.#options
    return new Balance({
      store,
      now,
      requestBalance,
      isUrgent: () => this.state.current !== undefined && this.state.current.name !== 'normal',
      slack: () => UNKNOWN_OVERLAP * this.price.max,
      onSample: sample => this.#inBackground(this.state.apply({ kind: 'balance', sample, reserved: this.#reserved })),
      isPlausible: answer => this.#isPlausibleAnswer(answer),
      onAnswer: answer => this.reconciler.observe(answer),
      observer,
    })
  }

  #openReconciler(): Reconciler {
    const { store, ...others } = this.#options
    return new Reconciler({ ...others, ledger: store, price: this.price, onDoubt: () => this.#confirm() })
  }

  #inBackground(work: Promise<unknown>): void {
    this.#work.add(work)
    void work.finally(() => this.#work.delete(work))
  }
}
