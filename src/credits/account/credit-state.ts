import type { CreditState, CreditStateName } from '../../contracts/account.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { StoreObserver } from '../../contracts/observer.js'
import type { BalanceSample, RecordStore } from '../../contracts/store.js'

export interface CreditThresholds {
  /** `RESERVE_CREDITS`. */
  reserve: Nanocredits
  /** Expected cost of a call. */
  price: { current(): Nanocredits }
}

/**
 * Evidence about the credits: a balance, a call that Segmind accepted, or a call it refused for
 * lack of credits.
 */
export type CreditEvidence =
  | { kind: 'balance'; sample: BalanceSample }
  /** `at`: time of the call, milliseconds since 1970. */
  | { kind: 'accepted'; at: number }
  | { kind: 'refused'; at: number }

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
  if (evidence.kind === 'refused') return state?.name === 'empty' ? state : enter(state, 'empty', evidence.at)
  // An accepted call proves credits only if it was sent after the refusal.
  if (evidence.kind === 'accepted')
    return state?.name === 'empty' && evidence.at > state.since ? enter(state, 'normal', evidence.at) : state
  const { remaining, at } = evidence.sample
  if (state?.name === 'empty') return stillEmpty(state, remaining, at, thresholds)
  const name = nameOf(remaining, state?.name, thresholds)
  return name === state?.name ? state : enter(state, name, at)
}

function stillEmpty(state: CreditState, remaining: Nanocredits, at: number, thresholds: CreditThresholds): CreditState {
  // The refusal is newer and contradicts this balance.
  if (at <= state.since) return state
  const lowest = Math.min(state.lowest ?? remaining, remaining)
  const estimate = thresholds.price.current()
  const isBack = remaining >= Math.max(2 * estimate, lowest + estimate)
  if (isBack) return enter(state, nameOf(remaining, 'reserve', thresholds), at)
  return lowest === state.lowest ? state : { ...state, lowest }
}

function nameOf(
  remaining: Nanocredits,
  before: CreditStateName | undefined,
  { reserve }: CreditThresholds,
): CreditStateName {
  if (remaining <= 0) return 'empty'
  if (reserve === 0) return 'normal'
  return remaining < (before === 'reserve' ? reserve * LEAVE_FACTOR : reserve) ? 'reserve' : 'normal'
}

function enter(state: CreditState | undefined, name: CreditStateName, since: number): CreditState {
  return { name, since, ...(state && { before: state.name }) }
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
