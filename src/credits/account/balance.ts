import type { Nanocredits } from '../../nanocredits.js'
import type { AccountBook, BalanceSample, LedgerStore } from '../../storage.js'

export interface BalanceOptions {
  /** Where all replicas share the newest sample. */
  store: Pick<LedgerStore, 'recordBalance' | 'balance' | 'account'>
  /** Segmind's free balance endpoint; rejects when it does not answer. */
  ask(): Promise<Nanocredits>
  now(): number
  /** How much calls of ours may have taken while Segmind was asked. */
  slack(): Nanocredits
  /** While credits are short Segmind is asked more often. */
  isUrgent(): boolean
  /** Told of every balance that is newly known here. */
  onSample(sample: BalanceSample): void
  /** Told of a balance that was asked for while nothing was under way and nothing was booked: the books have to agree with it. */
  onQuiet(remaining: Nanocredits, book: AccountBook): Promise<void>
  /** Told when Segmind, or the store, did not answer: the balance stays what it was. */
  onAskFailure(error: unknown): void
  onShareFailure(error: unknown): void
}

/** How sure the balance is: heard lately, heard long ago, never heard. */
export type BalanceState = 'unknown' | 'fresh' | 'stale'

/** How far the clocks of replicas may lie apart. */
const FUTURE_MS = 60_000
/** How old the newest sample may grow before Segmind is asked, milliseconds; the second while credits are short. */
const ASK_AFTER_MS = 60_000
const ASK_URGENTLY_AFTER_MS = 12_000
/** A balance that could not be renewed for so long is stale. */
const FRESH_MS = 300_000

/** The account's balance as Segmind last said it: from the header of every answer, and when idle from the free endpoint. Unknown is never 0. */
export class Balance {
  readonly #options: BalanceOptions
  #latest: BalanceSample | undefined
  #asking: Promise<void> | undefined
  #sequenceBefore: number | undefined

  constructor(options: BalanceOptions) {
    this.#options = options
  }

  /** Undefined until Segmind has said something. */
  get latest(): BalanceSample | undefined {
    return this.#latest
  }

  get state(): BalanceState {
    if (!this.#latest) return 'unknown'
    return this.#options.now() - this.#latest.at <= FRESH_MS ? 'fresh' : 'stale'
  }

  /** Takes what an answer's header said. */
  async record(sample: BalanceSample): Promise<void> {
    this.#take(sample)
    await this.#options.store.recordBalance(sample).catch(error => this.#options.onShareFailure(error))
  }

  /** Takes what other replicas know; asks Segmind, for free, when everybody's knowledge is old. Never rejects. */
  refresh(): Promise<void> {
    this.#asking ??= this.#refresh()
      .catch(error => this.#options.onAskFailure(error))
      .finally(() => {
        this.#asking = undefined
      })
    return this.#asking
  }

  async #refresh(): Promise<void> {
    const { now, isUrgent, slack } = this.#options
    const shared = await this.#shared(store => store.balance())
    if (shared && !this.#isFromTheFuture(shared)) this.#take(shared)
    const before = await this.#shared(store => store.account())
    // Where nothing was ever booked, nothing can be on its way.
    const wasQuiet = before?.reservedCalls === 0 && before.sequence === (this.#sequenceBefore ?? 0)
    this.#sequenceBefore = before?.sequence
    const askAfterMs = isUrgent() ? ASK_URGENTLY_AFTER_MS : ASK_AFTER_MS
    if (this.#latest && now() - this.#latest.at < askAfterMs) return
    const since = now()
    const remaining = await this.#options.ask()
    await this.record({ remaining, at: now(), since, slack: slack() })
    const after = await this.#shared(store => store.account())
    // Nothing was booked since the look before: by now Segmind has counted what came earlier, however late it does that.
    if (wasQuiet && after && after.sequence === before.sequence) await this.#options.onQuiet(remaining, after)
  }

  /** A clock that was wrong, here or in another replica, must not hide everything that comes after it. */
  #isFromTheFuture(sample: BalanceSample): boolean {
    return sample.at > this.#options.now() + FUTURE_MS
  }

  async #shared<T>(read: (store: BalanceOptions['store']) => Promise<T>): Promise<T | undefined> {
    try {
      return await read(this.#options.store)
    } catch (error) {
      this.#options.onShareFailure(error)
      return undefined
    }
  }

  /**
   * The newest sample stays. Of two whose questions overlapped the lower balance does, unless they differ by more than calls of ours explain:
   * answers of concurrent calls arrive out of order.
   */
  #take(sample: BalanceSample): void {
    const known = this.#latest && !this.#isFromTheFuture(this.#latest) ? this.#latest : undefined
    if (known && sample.at < known.at) return
    const { remaining, at, since = at, slack = 0 } = sample
    const isOurs = known !== undefined && since < known.at && remaining - known.remaining <= slack
    this.#latest = { remaining: isOurs ? Math.min(remaining, known.remaining) : remaining, at }
    this.#options.onSample(this.#latest)
  }
}
