import { GatewayError } from '../errors.js'
import { formatCredits, type Nanocredits } from '../nanocredits.js'
import type { EarlierCall, PlannedCall, Reservation } from '../segment/ports.js'
import type { Team } from '../segment/types.js'
import { type AccountBook, type Booked, type CallEntry, StoreError } from '../storage.js'
import { creditsReserved } from './account/gate.js'
import { type AccountEars, CallReservation, type ReservationParts } from './reservation.js'
import type { BudgetCalendar } from './windows.js'

/** What is known of the account before a call is made. */
export interface LedgerAccount extends AccountEars {
  price: { learn(cost: Nanocredits): void; current(): Nanocredits }
  gate: { admit(team: Team): void; refusal(team: Team): GatewayError | undefined }
  balance: { readonly latest: { remaining: Nanocredits } | undefined }
}

export interface LedgerOptions extends ReservationParts {
  calendar: BudgetCalendar
  account: LedgerAccount
  /** `RESERVE_CREDITS`: what teams that are not protected leave in the account. */
  reserve: Nanocredits
  /** `BUDGET_FAIL`: what happens to a team with a budget while the store cannot be asked. */
  whenStoreIsDown: 'closed' | 'open'
}

const STORE_RETRY_AFTER_SECONDS = 5

/**
 * Books every paid call before and after it happens. The reservation is written *before* the call, so that a process that
 * is killed at any moment leaves a trace of what may have been billed. Fails closed for teams with a budget.
 */
export class Ledger {
  readonly #options: LedgerOptions
  /** Calls that are under way in this process. */
  readonly #own = new Map<string, CallEntry>()

  constructor(options: LedgerOptions) {
    this.#options = options
  }

  /** Throws `credits_exhausted`, or `credits_reserved` for a team that is not protected. */
  admit(team: Team): void {
    this.#options.account.gate.admit(team)
  }

  /** What the account held when it was last heard. */
  balance(): Nanocredits | undefined {
    return this.#options.account.balance.latest?.remaining
  }

  /** Throws `credits_reserved`, `budget_exhausted` (with `Retry-After` until the window ends), or `store_unavailable` for a team with a budget. */
  async reserve(planned: PlannedCall): Promise<Reservation> {
    const call = this.#entryOf(planned)
    const onEnded = () => void this.#own.delete(call.callId)
    this.#own.set(call.callId, call)
    try {
      const reserved = await this.#reserve(call, planned.caller.team)
      return new CallReservation(call, this.#options, reserved ? { reserved, onEnded } : { waits: true, onEnded })
    } catch (error) {
      onEnded()
      throw error
    }
  }

  /** What a purchase by this team would be refused with now; nothing where it would be reserved. Holds nothing, never rejects. */
  async wouldRefuse(team: Team): Promise<GatewayError | undefined> {
    const { store, account, calendar, now, reserve } = this.#options
    const refusal = account.gate.refusal(team)
    if (refusal) return refusal
    const estimate = account.price.current()
    const at = now()
    try {
      const booked = await store.booked(team.id, calendar.windows(at))
      const window = (['daily', 'monthly'] as const).find(
        each => booked[each] + estimate > (team.budget?.[each] ?? Number.POSITIVE_INFINITY),
      )
      if (window) return this.#exhausted(team, window, booked, at)
      const balance = this.balance()
      if (reserve === 0 || team.protected || balance === undefined) return undefined
      return balance - (await store.account()).reserved - estimate < reserve ? creditsReserved() : undefined
    } catch (error) {
      return this.#isHeldUp(team) ? unchecked(team, error) : undefined
    }
  }

  /**
   * The call that an earlier holder of a flight had planned at `at`; nothing when it never reserved, or gave back what it reserved.
   * One that is charged is final: settling it again answers what it cost. Rejects with `StoreError`.
   */
  async find(callId: string, at: number): Promise<EarlierCall | undefined> {
    const { store, unsaved, calendar } = this.#options
    // What this machine still has to write about it belongs to how it stands.
    if ((await unsaved.callIds()).has(callId)) await unsaved.flush()
    const earlier = await store.entry(calendar.windows(at).day, callId)
    if (!earlier) return undefined
    const { state, settled: _before, ...call } = earlier
    return {
      state,
      at: call.at,
      team: call.team,
      cacheKey: call.resultId,
      ...(call.jobId !== undefined && { jobId: call.jobId }),
      reservation: new CallReservation(call, this.#options, { earlier }),
    }
  }

  /** Whether this process has reserved a call and not ended it yet. */
  isOwn(callId: string): boolean {
    return this.#own.has(callId)
  }

  /** The calls this process has reserved and not ended yet, as they were planned. */
  underWay(): CallEntry[] {
    return [...this.#own.values()]
  }

  #entryOf({ callId, at, caller, requestId, cacheKey, purchase, image }: PlannedCall): CallEntry {
    return {
      callId,
      team: caller.team.id,
      keyId: caller.keyId,
      requestId,
      at,
      ...this.#options.calendar.windows(at),
      resultId: cacheKey,
      estimate: this.#options.account.price.current(),
      ...(purchase !== 'first' && { purchase }),
      ...(image && { image }),
    }
  }

  /** Answers nothing where the step waits for the store. */
  async #reserve(call: CallEntry, team: Team): Promise<AccountBook | undefined> {
    const { store, reserve, onStoreFailure } = this.#options
    try {
      const keepsBack = reserve > 0 && !team.protected
      const outcome = await store.reserve(call, { ...team.budget, ...(keepsBack && { floor: reserve }) })
      if (outcome.ok) return outcome.account
      // Calls under way may take what is left down to the reserve.
      if (outcome.window === 'floor') throw creditsReserved()
      throw this.#exhausted(team, outcome.window, outcome.booked, call.at)
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      onStoreFailure(error, 'reserve')
      await this.#orGoOn(error, call, team)
      return undefined
    }
  }

  /** Without a store a team without a budget goes on. Its call is written down first: a process killed right after it has still booked it. */
  async #orGoOn(error: StoreError, call: CallEntry, team: Team): Promise<void> {
    const { unsaved } = this.#options
    if (!this.#isHeldUp(team)) return unsaved.add({ kind: 'reserve', call })
    // The step may have reached the store all the same: it is taken back once the store answers.
    if (error.mayHaveHappened) await unsaved.add({ kind: 'release', call, mayStillArrive: true })
    throw unchecked(team, error)
  }

  /** Whether this team has to wait for a store that does not answer. */
  #isHeldUp({ budget }: Team): boolean {
    const hasBudget = budget?.daily !== undefined || budget?.monthly !== undefined
    return hasBudget && this.#options.whenStoreIsDown === 'closed'
  }

  #exhausted(team: Team, window: 'daily' | 'monthly', booked: Booked, at: number): GatewayError {
    const limit = formatCredits(team.budget?.[window] ?? 0)
    const detail = `Team ${team.id} has booked ${formatCredits(booked[window])} of its ${window} budget of ${limit} credits.`
    return new GatewayError('budget_exhausted', detail, {
      retryAfterSeconds: this.#options.calendar.secondsLeft(at, window),
    })
  }
}

function unchecked(team: Team, cause: unknown): GatewayError {
  const detail = `The budget of team ${team.id} cannot be checked: the store does not answer.`
  return new GatewayError('store_unavailable', detail, { retryAfterSeconds: STORE_RETRY_AFTER_SECONDS, cause })
}
