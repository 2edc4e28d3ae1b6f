import { defined } from '../contracts/defined.js'
import { GatewayError } from '../contracts/errors.js'
import { formatCredits, type Nanocredits } from '../contracts/nanocredits.js'
import {
  type Booked,
  type BudgetWindow,
  type CallEntry,
  type LedgerState,
  type LedgerTotals,
  StoreError,
} from '../contracts/store.js'
import type { Team } from '../contracts/types.js'
import type { EarlierCall, PlannedCall, Reservation } from '../segment/ports.js'
import { type CreditEvidence, sparesReserve } from './account/credit-state.js'
import { creditsReserved } from './account/gate.js'
import { type AccountListener, CallReservation, type ReservationParts } from './reservation.js'
import type { BudgetCalendar } from './windows.js'

/** The shared account, as the ledger needs it before a call is made. */
interface LedgerAccount extends AccountListener {
  price: { learn(cost: Nanocredits): void; current(): Nanocredits }
  gate: { refusal(team: Team, imageBytes: number): GatewayError | undefined }
  state: { apply(evidence: CreditEvidence): Promise<void> }
  balance: { readonly latest: { remaining: Nanocredits } | undefined }
}

export interface CreditLedgerOptions extends ReservationParts {
  calendar: BudgetCalendar
  account: LedgerAccount
  /** `RESERVE_CREDITS`: credits that only protected teams may spend. */
  reserve: Nanocredits
  /** `BUDGET_FAIL`: policy for a team with a budget while the store does not answer. */
  whenStoreIsDown: 'closed' | 'open'
  /** Default: `ok`. Any other state counts like a store that does not answer. */
  ledgerState?(): LedgerState
}

const STORE_RETRY_AFTER_SECONDS = 5
/** Time for which only refusals at the reserve are a state of the account. */
const FLOOR_LASTS_MS = 15_000

/**
 * Books every paid call before it is sent and after it ends. The reservation is written *before*
 * the call, so a process that is killed at any moment leaves a trace of the call that may have been
 * billed. Fails closed for teams with a budget.
 */
export class CreditLedger {
  readonly #options: CreditLedgerOptions
  /** Calls in flight in this process. */
  readonly #own = new Map<string, CallEntry>()
  /** The first of the refusals at the reserve since a call was admitted. */
  #floorSince: number | undefined

  constructor(options: CreditLedgerOptions) {
    this.#options = options
  }

  /**
   * Reserves the estimate against every window of the team's budget. Throws `credits_reserved`,
   * `budget_exhausted` (with `Retry-After` until the window ends), or `store_unavailable` for a
   * team with a budget.
   */
  async reserve(planned: PlannedCall): Promise<Reservation> {
    const call = this.#entryOf(planned)
    const onEnded = () => void this.#own.delete(call.callId)
    this.#own.set(call.callId, call)
    try {
      const reserved = await this.#reserve(call, planned.caller.team)
      const again = (changed: CallEntry) => {
        this.#own.set(call.callId, changed)
        return this.#reserve(changed, planned.caller.team)
      }
      const origin = { isWaiting: reserved === undefined, again, onEnded, ...defined({ reserved }) }
      return new CallReservation(call, this.#options, origin)
    } catch (error) {
      onEnded()
      throw error
    }
  }

  /**
   * Returns the error a purchase by this team would fail with now, if any. Reserves nothing and
   * never rejects.
   */
  async wouldRefuse(team: Team, imageBytes: number): Promise<GatewayError | undefined> {
    const { store, account, calendar, now, reserve } = this.#options
    const refusal = account.gate.refusal(team, imageBytes)
    if (refusal) return refusal
    const estimate = account.price.current()
    const at = now()
    const doubt = this.#doubt(team)
    if (doubt) return doubt
    try {
      const booked = await store.booked(team.id, calendar.windows(at))
      const window = (['daily', 'monthly'] as const).find(
        each => booked[each] + estimate > (team.budget?.[each] ?? Number.POSITIVE_INFINITY),
      )
      if (window) return this.#budgetExhausted(team, window, booked, { at, estimate })
      const remaining = account.balance.latest?.remaining
      if (reserve === 0 || team.protected || remaining === undefined) return undefined
      const { reserved } = await store.totals()
      return sparesReserve({ remaining, reserved }, { reserve, price: account.price }) ? undefined : creditsReserved()
    } catch (error) {
      return this.#failsClosed(team) ? storeUnavailable(team, error) : undefined
    }
  }

  /**
   * Finds the call that an earlier leader planned at `at`. Undefined if it never reserved, or
   * released its reservation. A charged call is final: settling it again returns its cost. Rejects
   * with `StoreError`.
   */
  async find(callId: string, at: number): Promise<EarlierCall | undefined> {
    const { store, unsaved, calendar } = this.#options
    // Steps of this call that still wait on this machine are part of its state.
    if ((await unsaved.callIds()).has(callId)) await unsaved.flush()
    const earlier = await store.entry(calendar.windows(at).day, callId)
    if (!earlier) return undefined
    const { state, settled: _before, ...call } = earlier
    return {
      state,
      at: call.at,
      team: call.team,
      cacheKey: call.resultId,
      ...defined({ jobId: call.jobId }),
      reservation: new CallReservation(call, this.#options, { earlier }),
    }
  }

  /** Tells whether this process reserved the call and has not ended it yet. */
  isOwn(callId: string): boolean {
    return this.#own.has(callId)
  }

  /** Calls this process reserved and has not ended yet, as they were planned. */
  callsInFlight(): CallEntry[] {
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
      ...defined({ image }),
    }
  }

  /** Returns undefined if the step was spooled because the store does not respond. */
  async #reserve(call: CallEntry, team: Team): Promise<LedgerTotals | undefined> {
    const { store, reserve, observer } = this.#options
    const doubt = this.#doubt(team)
    if (doubt) throw doubt
    try {
      const hasFloor = reserve > 0 && !team.protected
      const floor = hasFloor ? { floor: reserve } : {}
      let outcome = await store.reserve(call, { ...team.budget, ...floor })
      const isLost = !outcome.ok && outcome.window === 'lost'
      // The floor depends on the balance at Segmind, so it holds in a lost ledger as well.
      if (isLost && !this.#failsClosed(team)) outcome = await store.reserve(call, floor)
      if (outcome.ok) {
        if (hasFloor) this.#floorSince = undefined
        return outcome.totals
      }
      // Calls in flight may use up everything above the reserve.
      if (outcome.window === 'floor') {
        await this.#floorReached()
        throw creditsReserved()
      }
      if (outcome.window === 'lost') throw ledgerDoubtful(team, 'lost')
      throw this.#budgetExhausted(team, outcome.window, outcome.booked, call)
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      observer.storeFailed(error, 'ledger: reserve')
      await this.#reserveWithoutStore(error, call, team)
      return undefined
    }
  }

  /** A burst reaches the floor for a moment. If it lasts, that is the state of the account. */
  async #floorReached(): Promise<void> {
    const { account, now } = this.#options
    const at = now()
    this.#floorSince ??= at
    if (at - this.#floorSince >= FLOOR_LASTS_MS) await account.state.apply({ kind: 'floor', at })
  }

  /**
   * Lets a team without a budget continue. Its reservation is spooled before the call, so that a
   * process killed right after the call has booked it.
   */
  async #reserveWithoutStore(error: StoreError, call: CallEntry, team: Team): Promise<void> {
    const { unsaved } = this.#options
    if (!this.#failsClosed(team)) return unsaved.add({ kind: 'reserve', call })
    // The reservation may have reached the store after all. It is released once the store answers.
    if (error.mayHaveHappened) await unsaved.add({ kind: 'release', call, mayStillArrive: true })
    throw storeUnavailable(team, error)
  }

  /** Returns why this team's budget cannot be checked, if the ledger is known not to be whole. */
  #doubt(team: Team): GatewayError | undefined {
    const state = this.#failsClosed(team) ? this.#options.ledgerState?.() : undefined
    return state === undefined || state === 'ok' ? undefined : ledgerDoubtful(team, state)
  }

  /** Tells whether this team's calls are refused while the store does not answer. */
  #failsClosed({ budget }: Team): boolean {
    const hasBudget = budget?.daily !== undefined || budget?.monthly !== undefined
    return hasBudget && this.#options.whenStoreIsDown === 'closed'
  }

  #budgetExhausted(
    team: Team,
    window: BudgetWindow,
    booked: Booked,
    { at, estimate }: Pick<CallEntry, 'at' | 'estimate'>,
  ): GatewayError {
    const limit = formatCredits(team.budget?.[window] ?? 0)
    const used = formatCredits(booked[window])
    const detail =
      `Team ${team.id} has booked ${used} of its ${window} budget of ${limit} credits, ` +
      `and a call is estimated at ${formatCredits(estimate)}.`
    return new GatewayError('budget_exhausted', detail, {
      retryAfterSeconds: this.#options.calendar.secondsLeft(at, window),
    })
  }
}

const DOUBTS = {
  lost: 'the ledger was lost or rolled back. An operator must run `segmind-gateway ledger accept`.',
  evictable: 'Redis may evict the ledger. An operator must set its maxmemory-policy to volatile-lru.',
}

function ledgerDoubtful(team: Team, state: keyof typeof DOUBTS): GatewayError {
  const detail = `The budget of team ${team.id} cannot be checked because ${DOUBTS[state]}`
  return new GatewayError('store_unavailable', detail, { retryAfterSeconds: STORE_RETRY_AFTER_SECONDS })
}

function storeUnavailable(team: Team, cause: unknown): GatewayError {
  const detail = `The budget of team ${team.id} cannot be checked because the store does not respond.`
  return new GatewayError('store_unavailable', detail, { retryAfterSeconds: STORE_RETRY_AFTER_SECONDS, cause })
}
