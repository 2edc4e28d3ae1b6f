import type { CreditState, CreditStateName } from '../../contracts/account.js'
import { defined } from '../../contracts/defined.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { StoreObserver } from '../../contracts/observer.js'
import type { BalanceSample, RecordStore } from '../../contracts/store.js'

export interface CreditThresholds {
  /** `RESERVE_CREDITS`. */
  reserve: Nanocredits
  /** Expected cost of a call. */
  price: { current(): Nanocredits }
}

/** Evidence about the credits. `at`: milliseconds since 1970. */
export type CreditEvidence =
  /** A balance, and what is reserved for calls in flight. */
  | { kind: 'balance'; sample: BalanceSample; reserved: Nanocredits }
  /** Segmind accepted a call that was sent at this time. */
  | { kind: 'accepted'; at: number }
  /** Segmind refused a call for lack of credits, and the balance does not contradict it. */
  | { kind: 'refused'; at: number; remaining?: Nanocredits }
  /** For some time, the store has refused reservations that would use up the reserve. */
  | { kind: 'floor'; at: number }

/**
 * The state `reserve` ends at this multiple of the reserve, so that a balance near the threshold
 * does not flap.
 */
const LEAVE_FACTOR = 1.05

/** Returns the state after new evidence: the same object if nothing changes. */
export function nextState(
  state: CreditState | undefined,
  evidence: CreditEvidence,
  thresholds: CreditThresholds,
): CreditState | undefined {
  if (evidence.kind === 'refused')
    return state?.name === 'empty' ? state : enter(state, 'empty', evidence.at, evidence.remaining)
  if (evidence.kind === 'floor') return state && state.name !== 'normal' ? state : enter(state, 'reserve', evidence.at)
  // An accepted call proves credits only if it was sent after the refusal.
  if (evidence.kind === 'accepted')
    return state?.name === 'empty' && evidence.at > state.since ? enter(state, 'normal', evidence.at) : state
  if (state?.name === 'empty') return stillEmpty(state, evidence, thresholds)
  const name = nameOf(evidence, state?.name, thresholds)
  return name === state?.name ? state : enter(state, name, evidence.sample.at, evidence.sample.remaining)
}

type BalanceEvidence = CreditEvidence & { kind: 'balance' }

function stillEmpty(state: CreditState, evidence: BalanceEvidence, thresholds: CreditThresholds): CreditState {
  const { remaining, at } = evidence.sample
  // The refusal is newer and contradicts this balance.
  if (at <= state.since) return state
  const estimate = thresholds.price.current()
  const isBack = remaining >= Math.max(2 * estimate, (state.lowest ?? 0) + estimate)
  if (isBack) return enter(state, nameOf(evidence, 'reserve', thresholds), at)
  const lowest = Math.min(state.lowest ?? remaining, remaining)
  return lowest === state.lowest ? state : { ...state, lowest }
}

/**
 * Tells whether a team that is not protected may make one more call: the balance must cover it, the
 * calls in flight and the reserve. The same rule as `LedgerStore.reserve` has for `floor`.
 */
export function sparesReserve(
  { remaining, reserved }: { remaining: Nanocredits; reserved: Nanocredits },
  { reserve, price }: CreditThresholds,
): boolean {
  return remaining - reserved - price.current() >= reserve
}

function nameOf(
  { sample: { remaining }, reserved }: BalanceEvidence,
  before: CreditStateName | undefined,
  { reserve, price }: CreditThresholds,
): CreditStateName {
  if (remaining <= 0) return 'empty'
  if (reserve === 0) return 'normal'
  // A burst of calls in flight that would use up the reserve is refused call by call. It is a state only
  // if it lasts: see `floor`.
  if (before !== 'reserve') return sparesReserve({ remaining, reserved: 0 }, { reserve, price }) ? 'normal' : 'reserve'
  return sparesReserve({ remaining, reserved }, { reserve: reserve * LEAVE_FACTOR, price }) ? 'normal' : 'reserve'
}

/** `remaining`: the balance by which the account is empty. */
function enter(
  state: CreditState | undefined,
  name: CreditStateName,
  since: number,
  remaining?: Nanocredits,
): CreditState {
  const lowest = name === 'empty' ? remaining : undefined
  return { name, since, ...(state && { before: state.name }), ...defined({ lowest }) }
}

export interface SharedStateOptions extends CreditThresholds {
  records: RecordStore
  observer: StoreObserver & { creditStateChanged(state: CreditState): void }
}

const KEY = 'credit-state'
const MAX_TRIES = 5

/**
 * The credit state that all replicas share. While the store is down, each replica uses its own
 * evidence. Never rejects.
 */
export class SharedCreditState {
  /** Undefined while there is no evidence. */
  current: CreditState | undefined
  /** The shared state as last read, without evidence that only this replica has. */
  agreed: CreditState | undefined
  readonly #options: SharedStateOptions
  #work: Promise<void> = Promise.resolve()

  constructor(options: SharedStateOptions) {
    this.#options = options
  }

  /**
   * Applies evidence at once in this replica, then to the shared state. Resolves once it is shared.
   */
  apply(evidence: CreditEvidence): Promise<void> {
    const next = nextState(this.current, evidence, this.#options)
    if (next === this.current && next?.name !== 'empty') return this.#work
    this.current = next
    return this.#queue(() => this.#share(evidence))
  }

  /** Reads the state that other replicas have shared. */
  refresh(): Promise<void> {
    return this.#queue(async () => {
      this.current = (await this.#read()).state ?? this.current
    })
  }

  #queue(step: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(step).catch(error => this.#options.observer.storeFailed(error, 'credit state'))
    return this.#work
  }

  async #share(evidence: CreditEvidence): Promise<void> {
    const { records, observer } = this.#options
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const { state, version } = await this.#read()
      const next = nextState(state, evidence, this.#options)
      if (!next || next === state) {
        this.current = next
        return
      }
      if (!(await records.put(KEY, JSON.stringify(next), version))) continue
      this.current = next
      this.agreed = next
      if (next.name !== state?.name) observer.creditStateChanged(next)
      return
    }
  }

  async #read(): Promise<{ state: CreditState | undefined; version: string }> {
    const found = await this.#options.records.get(KEY)
    const state = found && (JSON.parse(found.value) as CreditState)
    this.agreed = state
    return { state, version: found?.version ?? '' }
  }
}
