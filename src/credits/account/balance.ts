import type { AccountBalance, BalanceState } from '../../contracts/account.js'
import type { Clock } from '../../contracts/clock.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { BalanceSample, LedgerStore, LedgerTotals } from '../../contracts/store.js'
import type { CreditsObserver } from '../observer.js'

/** An answer of the balance endpoint. */
export interface BalanceAnswer extends AccountBalance {
  /** Times of the request and of the answer. */
  since: number
  at: number
  /** The totals after the answer. */
  totals: LedgerTotals
  /** Calls that only one of balance and totals may contain. 0 in a time without calls or bookings. */
  overlap: number
}

export interface BalanceOptions {
  /** Shares the newest sample between all replicas. */
  store: Pick<LedgerStore, 'recordBalance' | 'balance' | 'totals'>
  /** Requests the balance from Segmind's free endpoint. */
  requestBalance(): Promise<AccountBalance>
  now: Clock
  /** Credits that calls of this gateway may have used while a balance request was in progress. */
  slack(): Nanocredits
  /** While true, the balance is requested more often. */
  isUrgent(): boolean
  /** Called with each balance that is new to this replica. */
  onSample(sample: BalanceSample): void
  /** Returns whether an answer of the endpoint may be used. */
  isPlausible(answer: BalanceAnswer): Promise<boolean>
  /** Called with each answer of the endpoint that is used. */
  onAnswer(answer: BalanceAnswer): Promise<void>
  /** After a failure the known balance stays as it was. */
  observer: Pick<CreditsObserver, 'balanceRequestFailed' | 'storeFailed'>
}

/** Largest accepted difference between the clocks of replicas. */
const FUTURE_MS = 60_000
/**
 * Age of the newest sample from which the balance is requested; the second applies while credits
 * are low.
 */
const REQUEST_AFTER_MS = 60_000
const URGENT_REQUEST_AFTER_MS = 12_000
/** Age from which a balance is stale. */
const FRESH_MS = 300_000

/**
 * The last balance that Segmind reported: in the headers of responses and, while idle, from its
 * free endpoint. An unknown balance is never 0.
 */
export class Balance {
  /** Undefined until Segmind has reported a balance. */
  latest: BalanceSample | undefined
  readonly #options: BalanceOptions
  #refreshing: Promise<void> | undefined
  #next: Promise<void> | undefined
  #sequenceBefore: number | undefined

  constructor(options: BalanceOptions) {
    this.#options = options
  }

  get state(): BalanceState {
    if (!this.latest) return 'unknown'
    return this.#ageOf(this.latest) <= FRESH_MS ? 'fresh' : 'stale'
  }

  /** Takes a balance from the headers of a response, and shares it. */
  async record(sample: BalanceSample): Promise<void> {
    this.#take(sample)
    await this.#options.store
      .recordBalance(sample)
      .catch(error => this.#options.observer.storeFailed(error, 'balance: share'))
  }

  /**
   * Reads the shared sample, and requests the balance if that sample is out of date too, or in any
   * case if it `mustRequest`. Never rejects.
   */
  refresh({ mustRequest = false } = {}): Promise<void> {
    if (this.#refreshing && mustRequest) {
      // The refresh in progress may not request it, or may have requested it already.
      this.#next ??= this.#refreshing.then(() => {
        this.#next = undefined
        return this.refresh({ mustRequest })
      })
      return this.#next
    }
    this.#refreshing ??= this.#refresh(mustRequest)
      .catch(error => this.#options.observer.balanceRequestFailed(error))
      .finally(() => {
        this.#refreshing = undefined
      })
    return this.#refreshing
  }

  async #refresh(mustRequest: boolean): Promise<void> {
    const { now, isUrgent } = this.#options
    const shared = await this.#shared(store => store.balance())
    if (shared && !this.#isFromTheFuture(shared)) this.#take(shared)
    const before = await this.#shared(store => store.totals())
    // If nothing was ever booked, no call can be in flight.
    const wasQuiet = before?.reservedCalls === 0 && before.sequence === (this.#sequenceBefore ?? 0)
    this.#sequenceBefore = before?.sequence
    const requestAfterMs = isUrgent() ? URGENT_REQUEST_AFTER_MS : REQUEST_AFTER_MS
    if (!mustRequest && this.latest && this.#ageOf(this.latest) < requestAfterMs) return
    const since = now()
    const balance = await this.#options.requestBalance()
    const totals = await this.#shared(store => store.totals())
    await this.#answered(balance, { since, before, totals, wasQuiet })
  }

  async #answered(
    balance: AccountBalance,
    {
      since,
      before,
      totals,
      wasQuiet,
    }: { since: number; before: LedgerTotals | undefined; totals: LedgerTotals | undefined; wasQuiet: boolean },
  ): Promise<void> {
    const { now, slack, isPlausible, onAnswer } = this.#options
    const sample = { remaining: balance.remaining, at: now(), since, slack: slack() }
    // Without the ledger there is nothing to compare the balance with.
    if (!before || !totals) return this.record(sample)
    const steps = totals.sequence - before.sequence
    // Nothing was booked since the previous refresh, so Segmind has counted all earlier calls by
    // now.
    const overlap = wasQuiet && steps === 0 ? 0 : Math.max(1, before.reservedCalls + steps)
    const answer = { ...balance, since, at: sample.at, totals, overlap }
    if (!(await isPlausible(answer))) return
    await this.record(sample)
    await onAnswer(answer)
  }

  /** A sample from a wrong clock, here or in another replica, must not hide all later samples. */
  #isFromTheFuture(sample: BalanceSample): boolean {
    return sample.at > this.#options.now() + FUTURE_MS
  }

  /** A sample that this replica took before it had compared its clock with the store's may be from the future. */
  #ageOf(sample: BalanceSample): number {
    return this.#isFromTheFuture(sample) ? Number.POSITIVE_INFINITY : this.#options.now() - sample.at
  }

  async #shared<T>(read: (store: BalanceOptions['store']) => Promise<T>): Promise<T | undefined> {
    try {
      return await read(this.#options.store)
    } catch (error) {
      this.#options.observer.storeFailed(error, 'balance: share')
      return undefined
    }
  }

  /**
   * Keeps the newest sample. Responses of concurrent calls arrive out of order, so of two samples
   * that overlap in time the lower balance is kept, unless they differ by more than calls of this
   * gateway explain.
   */
  #take(sample: BalanceSample): void {
    const known = this.latest && !this.#isFromTheFuture(this.latest) ? this.latest : undefined
    if (known && sample.at < known.at) return
    const { remaining, at, since = at, slack = 0 } = sample
    const isOverlapping = known !== undefined && since < known.at && remaining - known.remaining <= slack
    this.latest = { remaining: isOverlapping ? Math.min(remaining, known.remaining) : remaining, at }
    this.#options.onSample(this.latest)
  }
}
