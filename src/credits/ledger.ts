import { GatewayError } from '../errors.js'
import { formatCredits, type Nanocredits } from '../nanocredits.js'
import type { Bill, PlannedCall, Reservation } from '../segment/ports.js'
import type { Team } from '../segment/types.js'
import { type Booked, type CallEntry, type LedgerStore, type SettledCall, StoreError } from '../storage.js'
import type { PriceEstimate } from './price.js'
import type { UnsavedSteps } from './unsaved.js'
import type { BudgetCalendar } from './windows.js'

export interface LedgerOptions {
  store: LedgerStore
  price: PriceEstimate
  calendar: BudgetCalendar
  unsaved: UnsavedSteps
  /** `BUDGET_FAIL`: what happens to a team with a budget while the store cannot be asked. */
  whenStoreIsDown: 'closed' | 'open'
  now(): number
  /** Told what Segmind said the account holds. */
  onBalance(remaining: Nanocredits): Promise<void>
  /** Told what was booked, for the metrics. */
  onBooked(team: string, outcome: SettledCall['outcome'], cost: Nanocredits): void
  onStoreFailure(error: unknown, doing: 'reserve' | 'settle' | 'release'): void
}

const STORE_RETRY_AFTER_SECONDS = 5

/**
 * Books every paid call before and after it happens. The reservation is written *before* the call, so that a process that
 * is killed at any moment leaves a trace of what may have been billed. Fails closed for teams with a budget.
 */
export class Ledger {
  readonly #options: LedgerOptions

  constructor(options: LedgerOptions) {
    this.#options = options
  }

  /** Throws `budget_exhausted` (with `Retry-After` until the window ends), or `store_unavailable` for a team with a budget. */
  async reserve(planned: PlannedCall): Promise<Reservation> {
    const { store, price, calendar, now } = this.#options
    const { team } = planned.caller
    const at = now()
    const call: CallEntry = {
      callId: planned.callId,
      team: team.id,
      keyId: planned.caller.keyId,
      requestId: planned.requestId,
      at,
      ...calendar.windows(at),
      resultId: planned.cacheKey,
      estimate: price.current(),
    }
    try {
      const outcome = await store.reserve(call, team.budget ?? {})
      if (!outcome.ok) throw this.#exhausted(team, outcome.window, outcome.booked, at)
    } catch (error) {
      this.#orGoOn(error, call, team)
    }
    return this.#reservation(call)
  }

  /** Without a store a team without a budget goes on: its call is written when the store is back (`settle` creates what it does not find). */
  #orGoOn(error: unknown, call: CallEntry, team: Team): void {
    if (!(error instanceof StoreError)) throw error
    this.#options.onStoreFailure(error, 'reserve')
    const hasBudget = team.budget?.daily !== undefined || team.budget?.monthly !== undefined
    if (hasBudget && this.#options.whenStoreIsDown === 'closed') {
      // The step may have reached the store all the same: it is taken back once the store answers.
      if (error.mayHaveHappened) this.#options.unsaved.add(() => this.#options.store.release(call))
      throw new GatewayError(
        'store_unavailable',
        `The budget of team ${team.id} cannot be checked: the store does not answer.`,
        {
          retryAfterSeconds: STORE_RETRY_AFTER_SECONDS,
          cause: error,
        },
      )
    }
  }

  #reservation(call: CallEntry): Reservation {
    let ended: Promise<Nanocredits> | undefined
    const end = (ending: () => Promise<Nanocredits>) => {
      ended ??= ending()
      return ended
    }
    return {
      settle: bill => end(() => this.#settle(call, bill)),
      unknown: async bill => void (await end(() => this.#unknown(call, bill))),
      release: async bill => void (await end(() => this.#release(call, bill))),
    }
  }

  async #settle(call: CallEntry, bill: Bill): Promise<Nanocredits> {
    if (bill.cost !== undefined) this.#options.price.learn(bill.cost)
    const [cost] = await Promise.all([this.#book(call, { outcome: 'charged', ...bill }), this.#tellBalance(bill)])
    return cost
  }

  /** Booked with the estimate, whatever else is known: what it cost is what is not known. */
  async #unknown(call: CallEntry, { cost: _notSettled, ...bill }: Bill = {}): Promise<Nanocredits> {
    const [cost] = await Promise.all([this.#book(call, { outcome: 'unknown', ...bill }), this.#tellBalance(bill)])
    return cost
  }

  async #book(call: CallEntry, bill: Bill & Pick<SettledCall, 'outcome'>): Promise<Nanocredits> {
    const settled: SettledCall = {
      outcome: bill.outcome,
      cost: bill.cost ?? call.estimate,
      costSource: bill.cost === undefined ? 'estimate' : 'header',
      settledAt: this.#options.now(),
      ...(bill.upstreamRequestId === undefined ? {} : { upstreamRequestId: bill.upstreamRequestId }),
    }
    this.#options.onBooked(call.team, settled.outcome, settled.cost)
    await this.#now('settle', () => this.#options.store.settle(call, settled))
    return settled.cost
  }

  async #release(call: CallEntry, bill: Bill = {}): Promise<Nanocredits> {
    await Promise.all([this.#now('release', () => this.#options.store.release(call)), this.#tellBalance(bill)])
    return 0
  }

  /** Every answer may say what the account holds, a refusal above all. */
  async #tellBalance({ remaining }: Bill): Promise<void> {
    if (remaining !== undefined) await this.#options.onBalance(remaining)
  }

  /** Writes a step now, or keeps it for when the store is back; a failure here never hides what the request is about. */
  async #now(doing: 'settle' | 'release', step: () => Promise<void>): Promise<void> {
    try {
      await step()
    } catch (error) {
      this.#options.onStoreFailure(error, doing)
      this.#options.unsaved.add(step)
    }
  }

  #exhausted(team: Team, window: 'daily' | 'monthly', booked: Booked, at: number): GatewayError {
    const limit = formatCredits(team.budget?.[window] ?? 0)
    const detail = `Team ${team.id} has booked ${formatCredits(booked[window])} of its ${window} budget of ${limit} credits.`
    return new GatewayError('budget_exhausted', detail, {
      retryAfterSeconds: this.#options.calendar.secondsLeft(at, window),
    })
  }
}
