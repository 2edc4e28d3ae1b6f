import type { SharedKeyState } from '../contracts/account.js'

/**
 * Outcomes that only a valid key can get. Outages, limits and timeouts say nothing about the key.
 */
const ACCEPTED: ReadonlySet<string> = new Set(['ok', 'upstream_rejected', 'credits_exhausted'])

/**
 * Tracks whether Segmind accepts the shared key. Calls and balance requests count separately,
 * because their permissions may differ.
 */
export class SharedKey {
  /** Undefined until the first response that shows whether the key is valid. */
  state: SharedKeyState | undefined
  readonly #onChange: (state: SharedKeyState) => void
  readonly #last: { calls?: SharedKeyState; balance?: SharedKeyState } = {}

  constructor(onChange: (state: SharedKeyState) => void = () => {}) {
    this.#onChange = onChange
  }

  /** Records the outcome of a call: `ok`, or an error code. */
  callEnded(code: string): void {
    if (code === 'upstream_unauthorized') this.#record({ calls: 'refused' })
    if (ACCEPTED.has(code)) this.#record({ calls: 'accepted' })
  }

  /** Records the outcome of a balance request: `ok`, or an error code. */
  balanceRequestEnded(code: string): void {
    if (code === 'upstream_unauthorized') this.#record({ balance: 'refused' })
    if (code === 'ok') this.#record({ balance: 'accepted' })
  }

  #record(last: { calls: SharedKeyState } | { balance: SharedKeyState }): void {
    const { calls, balance } = Object.assign(this.#last, last)
    const state = calls === 'refused' || balance === 'refused' ? 'refused' : 'accepted'
    if (state === this.state) return
    this.state = state
    this.#onChange(state)
  }
}
