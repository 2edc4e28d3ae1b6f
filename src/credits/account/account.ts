import type { Nanocredits } from '../../nanocredits.js'
import type { AccountBook, LedgerStore, RecordStore } from '../../storage.js'
import type { BudgetCalendar } from '../windows.js'
import { Balance } from './balance.js'
import { type CreditState, SharedCreditState } from './credit-state.js'
import { CreditGate } from './gate.js'
import { AccountHistory } from './history.js'
import { PriceEstimate } from './price.js'
import type { Resolution } from './reconcile.js'
import { Reconciler } from './reconciler.js'
import type { AccountEvent } from './record.js'
import { type Burn, burnOf, type Runway, runwayOf } from './runway.js'

export interface AccountOptions {
  store: LedgerStore
  records: RecordStore
  calendar: BudgetCalendar
  /** `PRICE_ESTIMATE_CREDITS`, `RESERVE_CREDITS`. */
  priceEstimate: Nanocredits
  reserve: Nanocredits
  /** Segmind's free balance endpoint. */
  askBalance(): Promise<Nanocredits>
  now(): number
  /** False while the books may be behind. */
  isSettled(): boolean
  onState(state: CreditState): void
  onEvent(event: AccountEvent): void
  onResolved(resolution: Resolution): void
  onAskFailure(error: unknown): void
  onStoreFailure(error: unknown, doing: string): void
}

/** An answer of Segmind, with the books around it where they are known. */
export interface Answered {
  remaining: Nanocredits
  /** When the call was made. */
  since: number
  /** After its reservation, and after its end; `notes`: steps of its own between the two. */
  reserved: AccountBook | undefined
  ended: AccountBook | undefined
  notes: number
}

/** Calls that may be under way while nothing is known of them. */
const UNKNOWN_OVERLAP = 8
/** How old the balance before a call may be to tell what the call cost. */
const DELTA_AGE_MS = 600_000

/** The one account behind the shared key: what it holds, how fast that goes, and whether the books agree with it. */
export class Account {
  readonly price: PriceEstimate
  readonly balance: Balance
  readonly state: SharedCreditState
  readonly gate: CreditGate
  readonly reconciler: Reconciler
  readonly #history: AccountHistory
  readonly #options: AccountOptions
  #burn: Burn = {}
  #refreshing: Promise<void> | undefined
  readonly #work = new Set<Promise<unknown>>()

  constructor(options: AccountOptions) {
    const { records, now } = options
    this.#options = options
    this.price = new PriceEstimate(options.priceEstimate)
    this.state = new SharedCreditState({
      records,
      terms: () => ({ reserve: options.reserve, estimate: this.price.current() }),
      onChange: options.onState,
      onFailure: error => options.onStoreFailure(error, 'credit state'),
    })
    this.balance = this.#openBalance()
    this.gate = new CreditGate({
      state: () => this.state.current,
      balance: () => this.balance.latest,
      estimate: () => this.price.current(),
      now,
    })
    this.reconciler = this.#openReconciler()
    this.#history = new AccountHistory({
      records,
      now,
      onFailure: error => options.onStoreFailure(error, 'account history'),
    })
  }

  /** Credits a second over the last hour, day and week; those that are known. */
  get burn(): Burn {
    return this.#burn
  }

  /** Undefined while it cannot be known. */
  get runway(): Runway | undefined {
    return runwayOf(this.balance.latest?.remaining, this.#burn, this.#options.now())
  }

  /** What has left the account and is booked to nobody, since the first balance; undefined before that. */
  get drift(): Nanocredits | undefined {
    return this.reconciler.record?.drift
  }

  /** Takes up what other replicas and Segmind have to say. Never rejects. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  /** What an answer says about the account. Resolves when the balance is shared; the books are compared behind that. */
  async answered({ remaining, since, reserved, ended, notes }: Answered): Promise<void> {
    const at = this.#options.now()
    const overlap = overlapOf(reserved, ended, notes)
    const shared = this.balance.record({ remaining, at, since, slack: (overlap ?? UNKNOWN_OVERLAP) * this.price.max })
    if (ended && overlap !== undefined) this.#behind(this.reconciler.observe({ remaining, at, book: ended, overlap }))
    await shared
  }

  /**
   * What a call cost whose answer does not say: what the account lost by it, when it was the only one under way and the balance before it
   * is known. Undefined where that is not sure.
   */
  async costFromBalance(
    remaining: Nanocredits,
    reserved: AccountBook,
    notes: number,
  ): Promise<Nanocredits | undefined> {
    const before = this.reconciler.record?.anchor
    const isKnown = before && !before.loose && before.sequence === reserved.sequence - 1 && reserved.reservedCalls === 1
    if (!isKnown || this.#options.now() - before.at > DELTA_AGE_MS) return undefined
    const now = await this.#options.store.account().catch(() => undefined)
    const cost = before.remaining - remaining
    return now?.sequence === reserved.sequence + notes && cost > 0 && cost <= this.price.max ? cost : undefined
  }

  /** Resolves when nothing is being compared or shared any more. */
  async idle(): Promise<void> {
    await this.#refreshing
    while (this.#work.size > 0) await Promise.all(this.#work)
  }

  async #refresh(): Promise<void> {
    const { store, onStoreFailure } = this.#options
    try {
      this.price.adopt(await store.recentCosts())
    } catch (error) {
      onStoreFailure(error, 'price: read')
    }
    await Promise.all([this.state.refresh(), this.reconciler.refresh()])
    await this.balance.refresh()
    const { change } = this.price
    if (change) await this.reconciler.noteNewPrice(change.from, change.to)
    await this.#measure()
  }

  async #measure(): Promise<void> {
    const { store, now, onStoreFailure } = this.#options
    try {
      const book = await store.account()
      const gone = book.spent + (this.drift ?? 0)
      await this.#history.note({ remaining: this.balance.latest?.remaining, inFlight: book.reservedCalls, gone })
      this.#burn = burnOf(this.#history.spending, { at: now(), gone })
    } catch (error) {
      onStoreFailure(error, 'burn: read')
    }
  }

  #openBalance(): Balance {
    const { store, now, askBalance, onAskFailure, onStoreFailure } = this.#options
    return new Balance({
      store,
      now,
      ask: askBalance,
      isUrgent: () => this.state.current !== undefined && this.state.current.name !== 'normal',
      slack: () => UNKNOWN_OVERLAP * this.price.max,
      onSample: sample => this.#behind(this.state.tell({ kind: 'balance', sample })),
      onQuiet: (remaining, book) => this.reconciler.observe({ remaining, at: now(), book, overlap: 0 }),
      onAskFailure,
      onShareFailure: error => onStoreFailure(error, 'balance: share'),
    })
  }

  #openReconciler(): Reconciler {
    const { store, records, calendar, now, isSettled, onEvent, onResolved, onStoreFailure } = this.#options
    return new Reconciler({
      records,
      ledger: store,
      calendar,
      maxCost: () => this.price.max,
      now,
      isSettled,
      onEvent,
      onMeanCost: cost => this.price.learn(cost),
      onResolved,
      onFailure: error => onStoreFailure(error, 'reconcile'),
    })
  }

  #behind(work: Promise<unknown>): void {
    this.#work.add(work)
    void work.finally(() => this.#work.delete(work))
  }
}

/** How many other calls were under way at some time between two looks at the books; undefined where that is not known. */
function overlapOf(
  reserved: AccountBook | undefined,
  ended: AccountBook | undefined,
  notes: number,
): number | undefined {
  if (!reserved || !ended) return undefined
  const stepsOfOthers = Math.max(0, ended.sequence - reserved.sequence - notes - 1)
  return reserved.reservedCalls - 1 + stepsOfOthers + ended.reservedCalls
}
