import type { Nanocredits } from '../../nanocredits.js'
import type { BalanceSample, RecordStore } from '../../storage.js'

/** `normal` · `reserve`: the balance is under `RESERVE_CREDITS`, only protected teams spend · `empty`: nobody can, cached answers go on. */
export type CreditStateName = 'normal' | 'reserve' | 'empty'

export interface CreditState {
  name: CreditStateName
  /** Milliseconds since 1970. */
  since: number
  /** What it was before; absent at the very first. */
  before?: CreditStateName
  /** The lowest balance seen since the account is empty: credits are back once it is clearly above that. */
  lowest?: Nanocredits
}

export interface CreditTerms {
  /** `RESERVE_CREDITS`. */
  reserve: Nanocredits
  /** What a call is expected to cost. */
  estimate: Nanocredits
}

/** What has become known: a balance, that Segmind refused a call for want of credits, or that it took one. */
export type CreditNews =
  | { kind: 'balance'; sample: BalanceSample }
  /** `at`: when the call went out, milliseconds since 1970. */
  | { kind: 'accepted'; at: number }
  | { kind: 'refused'; at: number }

/** The reserve is left again with so much more than it takes to fall under it, so that a balance at its edge does not flap. */
const LEAVE_FACTOR = 1.05

/** The state after some news; the same object where nothing changes. */
export function nextState(
  state: CreditState | undefined,
  news: CreditNews,
  terms: CreditTerms,
): CreditState | undefined {
  if (news.kind === 'refused') return state?.name === 'empty' ? state : enter(state, 'empty', news.at)
  // A call that went out after the refusal and was taken has shown that there are credits; one from before shows nothing.
  if (news.kind === 'accepted')
    return state?.name === 'empty' && news.at > state.since ? enter(state, 'normal', news.at) : state
  const { remaining, at } = news.sample
  if (state?.name === 'empty') return stillEmpty(state, remaining, at, terms)
  const name = nameOf(remaining, state?.name, terms)
  return name === state?.name ? state : enter(state, name, at)
}

function stillEmpty(state: CreditState, remaining: Nanocredits, at: number, terms: CreditTerms): CreditState {
  // Heard before the refusal: it is contradicted.
  if (at <= state.since) return state
  const lowest = Math.min(state.lowest ?? remaining, remaining)
  const isBack = remaining >= Math.max(2 * terms.estimate, lowest + terms.estimate)
  if (isBack) return enter(state, nameOf(remaining, 'reserve', terms), at)
  return lowest === state.lowest ? state : { ...state, lowest }
}

function nameOf(
  remaining: Nanocredits,
  before: CreditStateName | undefined,
  { reserve }: CreditTerms,
): CreditStateName {
  if (remaining <= 0) return 'empty'
  if (reserve === 0) return 'normal'
  return remaining < (before === 'reserve' ? reserve * LEAVE_FACTOR : reserve) ? 'reserve' : 'normal'
}

function enter(state: CreditState | undefined, name: CreditStateName, since: number): CreditState {
  return { name, since, ...(state && { before: state.name }) }
}

export interface SharedStateOptions {
  records: RecordStore
  terms(): CreditTerms
  /** Told by the one process that changed it for all; `before` is absent at the very first. */
  onChange(state: CreditState): void
  onFailure(error: unknown): void
}

const KEY = 'credit-state'
const MAX_TRIES = 5

/** The credit state, shared by all replicas. While the store is down each goes by what it knows itself. Never rejects. */
export class SharedCreditState {
  readonly #options: SharedStateOptions
  #state: CreditState | undefined
  #agreed: CreditState | undefined
  #work: Promise<void> = Promise.resolve()

  constructor(options: SharedStateOptions) {
    this.#options = options
  }

  /** Undefined while nothing was heard. */
  get current(): CreditState | undefined {
    return this.#state
  }

  /** What it was for all replicas when that was last heard; what only this one knows yet is left out. */
  get agreed(): CreditState | undefined {
    return this.#agreed
  }

  /** Takes news at once here, and then for all. Resolves when it is shared. */
  tell(news: CreditNews): Promise<void> {
    const next = nextState(this.#state, news, this.#options.terms())
    if (next === this.#state && next?.name !== 'empty') return this.#work
    this.#state = next
    return this.#queue(() => this.#share(news))
  }

  /** Takes over what other replicas have seen. */
  refresh(): Promise<void> {
    return this.#queue(async () => {
      this.#state = (await this.#read()).state ?? this.#state
    })
  }

  #queue(step: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(step).catch(error => this.#options.onFailure(error))
    return this.#work
  }

  async #share(news: CreditNews): Promise<void> {
    const { records, terms, onChange } = this.#options
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const { state, version } = await this.#read()
      const next = nextState(state, news, terms())
      if (!next || next === state) {
        this.#state = next
        return
      }
      if (!(await records.put(KEY, JSON.stringify(next), version))) continue
      this.#state = next
      this.#agreed = next
      if (next.name !== state?.name) onChange(next)
      return
    }
  }

  async #read(): Promise<{ state: CreditState | undefined; version: string }> {
    const found = await this.#options.records.get(KEY)
    const state = found && (JSON.parse(found.value) as CreditState)
    this.#agreed = state
    return { state, version: found?.version ?? '' }
  }
}
