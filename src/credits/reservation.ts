import type { Nanocredits } from '../nanocredits.js'
import type { Bill, Reservation } from '../segment/ports.js'
import type { AccountBook, CallEntry, LedgerEntry, LedgerStep, LedgerStore, SettledCall } from '../storage.js'
import type { Answered } from './account/account.js'
import { doStep } from './steps.js'
import type { UnsavedSteps } from './unsaved.js'

export interface ReservationParts {
  store: LedgerStore
  unsaved: UnsavedSteps
  account: AccountEars
  now(): number
  /** Told what was booked, for the metrics. */
  onBooked(team: string, outcome: SettledCall['outcome'], cost: Nanocredits): void
  onStoreFailure(error: unknown, doing: LedgerStep['kind']): void
}

/** What the account hears of each call. */
export interface AccountEars {
  /** Told what Segmind said the account holds. */
  answered(answer: Answered): Promise<void>
  /** What a call cost that did not say so; undefined where the balance does not show it surely. */
  costFromBalance(remaining: Nanocredits, reserved: AccountBook, notes: number): Promise<Nanocredits | undefined>
  price: { learn(cost: Nanocredits): void }
}

/** Where a reservation comes from. */
export interface ReservationOrigin {
  /** Its first step waits for the store: those that follow wait behind it. */
  waits?: boolean
  /** The account as it was once this call was reserved. */
  reserved?: AccountBook
  /** The entry of an earlier holder that it ends. */
  earlier?: LedgerEntry
  /** Told once, when the end is written or as safe as it can be. */
  onEnded?(): void
}

/** The money of one call, as the one who makes the call, or comes after the one who made it, ends it. Never rejects. */
export class CallReservation implements Reservation {
  readonly #parts: ReservationParts
  readonly #origin: ReservationOrigin
  #call: CallEntry
  #waits: boolean
  #written: Promise<void> = Promise.resolve()
  #ended: Promise<Nanocredits> | undefined
  #shown: Promise<Nanocredits | undefined> | undefined
  #notes = 0
  /** The account as it was once this call had ended. */
  #endedBook: AccountBook | undefined

  constructor(call: CallEntry, parts: ReservationParts, origin: ReservationOrigin = {}) {
    this.#call = call
    this.#parts = parts
    this.#origin = origin
    this.#waits = origin.waits ?? false
    const charged = finalCost(origin)
    if (charged !== undefined) this.#ended = Promise.resolve(charged)
  }

  async costOf(bill: Bill): Promise<Nanocredits> {
    return finalCost(this.#origin) ?? (await this.#priceOf(bill)).cost
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
    return this.#end(bill, async () => {
      if (bill.cost !== undefined) this.#parts.account.price.learn(bill.cost)
      return this.#book('charged', bill)
    })
  }

  /** Booked with the estimate, whatever else is known: what it cost is what is not known. */
  async unknown({ cost: _notSettled, ...bill }: Bill = {}): Promise<void> {
    const isBooked = this.#origin.earlier?.state === 'unknown'
    await this.#end(bill, async () => (isBooked ? this.#call.estimate : this.#book('unknown', bill)))
  }

  async release(bill: Bill = {}): Promise<void> {
    await this.#end(bill, async () => {
      // What an earlier holder has sent may still be on its way.
      const mayStillArrive = this.#origin.earlier !== undefined
      await this.#write({ kind: 'release', call: this.#call, mayStillArrive })
      return 0
    })
  }

  /** Every answer may say what the account holds, a refusal above all; it is compared with the books once the end is in them. */
  #end({ remaining }: Bill, ending: () => Promise<Nanocredits>): Promise<Nanocredits> {
    this.#ended ??= ending()
      .then(async cost => {
        if (remaining !== undefined) await this.#parts.account.answered(this.#answered(remaining))
        return cost
      })
      .finally(() => this.#origin.onEnded?.())
    return this.#ended
  }

  #answered(remaining: Nanocredits): Answered {
    return {
      remaining,
      since: this.#call.at,
      reserved: this.#origin.reserved,
      ended: this.#endedBook,
      notes: this.#notes,
    }
  }

  async #book(outcome: SettledCall['outcome'], bill: Bill): Promise<Nanocredits> {
    const { cost, costSource } = await this.#priceOf(outcome === 'charged' ? bill : {})
    const settled: SettledCall = {
      outcome,
      cost,
      costSource,
      settledAt: this.#parts.now(),
      ...(bill.upstreamRequestId !== undefined && { upstreamRequestId: bill.upstreamRequestId }),
    }
    this.#parts.onBooked(this.#call.team, outcome, settled.cost)
    await this.#write({ kind: 'settle', call: this.#call, settled })
    return settled.cost
  }

  /** Segmind's own figure, else what the balance shows, else the estimate. */
  async #priceOf({ cost, remaining }: Bill): Promise<Price> {
    if (cost !== undefined) return { cost, costSource: 'header' }
    const shown = remaining === undefined ? undefined : await this.#shownBy(remaining)
    if (shown !== undefined) return { cost: shown, costSource: 'balance' }
    return { cost: this.#call.estimate, costSource: 'estimate' }
  }

  /** Asked once: the answer must not be another one when it is booked than when it was told. */
  #shownBy(remaining: Nanocredits): Promise<Nanocredits | undefined> {
    const { reserved } = this.#origin
    this.#shown ??= reserved
      ? this.#parts.account.costFromBalance(remaining, reserved, this.#notes)
      : Promise.resolve(undefined)
    return this.#shown
  }

  /** One after the other: a note that arrives behind its release would bring the call back. */
  #write(step: LedgerStep): Promise<void> {
    this.#written = this.#written.then(() => this.#writeNext(step))
    return this.#written
  }

  /**
   * Writes a step now, or keeps it for when the store is back; a failure here never hides what the request is about. Once one waits, those
   * that follow wait behind it. The race it ends: reserve waits · the store is back · release is written · reserve is written.
   */
  async #writeNext(step: LedgerStep): Promise<void> {
    if (!this.#waits) {
      try {
        const book = await doStep(this.#parts.store, step)
        if (book) this.#endedBook = book
        return
      } catch (error) {
        this.#parts.onStoreFailure(error, step.kind)
      }
    }
    const isUnsure = this.#waits && step.kind === 'release'
    this.#waits = true
    await this.#parts.unsaved.add(isUnsure ? { ...step, mayStillArrive: true } : step)
  }
}

type Price = Pick<SettledCall, 'cost' | 'costSource'>

/** `charged` is final. */
function finalCost({ earlier }: ReservationOrigin): Nanocredits | undefined {
  return earlier?.state === 'charged' ? earlier.settled?.cost : undefined
}
