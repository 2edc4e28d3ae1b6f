import type { Clock } from '../contracts/clock.js'
import { defined } from '../contracts/defined.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import type { CallEntry, LedgerEntry, LedgerStep, LedgerStore, LedgerTotals, SettledCall } from '../contracts/store.js'
import type { Bill, Reservation } from '../segment/ports.js'
import type { BalanceReport } from './account/account.js'
import type { CreditsObserver } from './observer.js'
import { applyStep, type UnsavedSteps } from './unsaved.js'

export interface ReservationParts {
  store: LedgerStore
  unsaved: UnsavedSteps
  account: AccountListener
  now: Clock
  observer: Pick<CreditsObserver, 'callBooked' | 'unknownSettled' | 'storeFailed'>
}

/** Receives account facts from the responses of Segmind. */
export interface AccountListener {
  balanceReported(report: BalanceReport): Promise<void>
  /**
   * Derives the cost of a call whose response stated none. Undefined unless the balance shows it
   * for certain.
   */
  costFromBalance(remaining: Nanocredits, reserved: LedgerTotals, notes: number): Promise<Nanocredits | undefined>
  /** Tells whether a cost that Segmind stated is believed, and reports one that is not. */
  isPlausibleCost(cost: Nanocredits, call: CallEntry): Promise<boolean>
  price: { learn(cost: Nanocredits): void; current(): Nanocredits }
}

/** A price that has risen by no more than this factor since the reservation is not reserved again. */
const RISEN_FACTOR = 2

/** Origin of a reservation. All members absent: reserved in the store by this process. */
export interface ReservationOrigin {
  /** Its first step waits for the store, so all later steps wait behind it. */
  isWaiting?: boolean
  /** The totals right after the reservation. */
  reserved?: LedgerTotals
  /** Reserves the call with its new estimate, as at first. Absent for a call of an earlier process. */
  again?(call: CallEntry): Promise<LedgerTotals | undefined>
  /** The entry of an earlier process, which this reservation ends. */
  earlier?: LedgerEntry
  /** Called once, when the end is written to the store or, failing that, to the spool. */
  onEnded?(): void
}

/**
 * Books one call from its reservation to its end, for its own process or for an earlier one that
 * died. Never rejects.
 */
export class CallReservation implements Reservation {
  readonly #parts: ReservationParts
  readonly #origin: ReservationOrigin
  #call: CallEntry
  #isWaiting: boolean
  #written: Promise<void> = Promise.resolve()
  #ended: Promise<Nanocredits> | undefined
  #costFromBalance: Promise<Nanocredits | undefined> | undefined
  #isPlausible: Promise<boolean> | undefined
  #notes = 0
  /** The totals right after the reservation. */
  #reserved: LedgerTotals | undefined
  /** The totals right after this call ended. */
  #endedTotals: LedgerTotals | undefined

  constructor(call: CallEntry, parts: ReservationParts, origin: ReservationOrigin = {}) {
    this.#call = call
    this.#parts = parts
    this.#origin = origin
    this.#isWaiting = origin.isWaiting ?? false
    this.#reserved = origin.reserved
    const { state, settled } = origin.earlier ?? {}
    // The cost of a call that is charged already is final.
    if (state === 'charged' && settled) this.#ended = Promise.resolve(settled.cost)
  }

  async costOf(bill: Bill): Promise<Nanocredits> {
    return this.#ended ?? (await this.#priceOf(bill)).cost
  }

  async recheck(): Promise<void> {
    const { again, onEnded } = this.#origin
    const estimate = this.#parts.account.price.current()
    if (!again || this.#ended || estimate <= this.#call.estimate * RISEN_FACTOR) return
    // A process killed in between has not made the call, so nothing may stay reserved.
    await this.#write({ kind: 'release', call: this.#call, mayStillArrive: false })
    this.#call = { ...this.#call, estimate }
    // The store is down. Every further step waits behind the release.
    if (this.#isWaiting) return this.#parts.unsaved.add({ kind: 'reserve', call: this.#call })
    try {
      this.#reserved = await again(this.#call)
      this.#isWaiting = this.#reserved === undefined
    } catch (error) {
      this.#ended = Promise.resolve(0)
      onEnded?.()
      throw error
    }
  }

  describe(known: { pixelKey: string }): void {
    if (!this.#ended) this.#call = { ...this.#call, ...known }
  }

  async submitted(jobId: string): Promise<void> {
    if (this.#ended) return
    this.#call = { ...this.#call, jobId }
    this.#notes++
    await this.#write({ kind: 'note', call: this.#call })
  }

  settle(bill: Bill): Promise<Nanocredits> {
    return this.#end(bill, () => this.#book('charged', bill))
  }

  /** Books the estimate and ignores a cost in `bill`: an unknown call has no certain cost. */
  async unknown({ cost: _notSettled, ...bill }: Bill = {}): Promise<void> {
    const isBooked = this.#origin.earlier?.state === 'unknown'
    await this.#end(bill, async () => (isBooked ? this.#call.estimate : this.#book('unknown', bill)))
  }

  async release(bill: Bill = {}): Promise<void> {
    await this.#end(bill, async () => {
      // Steps that the earlier process sent may still be on their way to the store.
      const mayStillArrive = this.#origin.earlier !== undefined
      await this.#write({ kind: 'release', call: this.#call, mayStillArrive })
      this.#reportUnknownSettled()
      return 0
    })
  }

  /**
   * Any response may report the balance, a refusal too. It is reported once the end is booked, so
   * that the ledger agrees.
   */
  #end({ remaining }: Bill, ending: () => Promise<Nanocredits>): Promise<Nanocredits> {
    const { onEnded } = this.#origin
    const reserved = this.#reserved
    this.#ended ??= ending()
      .then(async cost => {
        const report = { since: this.#call.at, reserved, ended: this.#endedTotals, notes: this.#notes }
        if (remaining !== undefined) await this.#parts.account.balanceReported({ remaining, ...report })
        return cost
      })
      .finally(() => onEnded?.())
    return this.#ended
  }

  /** An earlier process may have left the call with an unknown outcome. */
  #reportUnknownSettled(): void {
    const { state, settled } = this.#origin.earlier ?? {}
    if (state === 'unknown') this.#parts.observer.unknownSettled(this.#call.team, settled?.cost ?? 0)
  }

  async #book(outcome: SettledCall['outcome'], bill: Bill): Promise<Nanocredits> {
    const { cost, costSource } = await this.#priceOf(outcome === 'charged' ? bill : {})
    const settled: SettledCall = {
      outcome,
      cost,
      costSource,
      settledAt: this.#parts.now(),
      ...defined({ upstreamRequestId: bill.upstreamRequestId }),
    }
    if (costSource === 'header') this.#parts.account.price.learn(cost)
    this.#parts.observer.callBooked(this.#call.team, outcome, settled.cost)
    await this.#write({ kind: 'settle', call: this.#call, settled })
    if (outcome === 'charged') this.#reportUnknownSettled()
    return settled.cost
  }

  /**
   * Prefers Segmind's own figure if it is plausible, then the change of the balance, then the
   * estimate.
   */
  async #priceOf({ cost, remaining }: Bill): Promise<Price> {
    if (cost !== undefined) {
      // Decided only once: the booked cost must equal the cost that was returned before.
      this.#isPlausible ??= this.#parts.account.isPlausibleCost(cost, this.#call)
      if (await this.#isPlausible) return { cost, costSource: 'header' }
    }
    const derived = cost !== undefined || remaining === undefined ? undefined : await this.#deriveCost(remaining)
    if (derived !== undefined) return { cost: derived, costSource: 'balance' }
    return { cost: this.#call.estimate, costSource: 'estimate' }
  }

  /** Derived only once: the booked cost must equal the cost that was returned before. */
  #deriveCost(remaining: Nanocredits): Promise<Nanocredits | undefined> {
    const reserved = this.#reserved
    this.#costFromBalance ??= reserved
      ? this.#parts.account.costFromBalance(remaining, reserved, this.#notes)
      : Promise.resolve(undefined)
    return this.#costFromBalance
  }

  /**
   * Writes one step after another: a note that arrived after its release would restore the entry.
   */
  #write(step: LedgerStep): Promise<void> {
    this.#written = this.#written.then(() => this.#writeNext(step))
    return this.#written
  }

  /**
   * Writes a step now, or spools it until the store is back. A failure here never hides the result
   * of the request. Once a step is spooled, all later ones queue behind it. The race that prevents:
   * reserve is spooled · the store is back · release is written · reserve is written.
   */
  async #writeNext(step: LedgerStep): Promise<void> {
    if (!this.#isWaiting) {
      try {
        const totals = await applyStep(this.#parts.store, step)
        if (totals) this.#endedTotals = totals
        return
      } catch (error) {
        this.#parts.observer.storeFailed(error, `ledger: ${step.kind}`)
      }
    }
    const isUncertain = this.#isWaiting && step.kind === 'release'
    this.#isWaiting = true
    await this.#parts.unsaved.add(isUncertain ? { ...step, mayStillArrive: true } : step)
  }
}

type Price = Pick<SettledCall, 'cost' | 'costSource'>
