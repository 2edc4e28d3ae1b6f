import { GatewayError } from '../../errors.js'
import type { Nanocredits } from '../../nanocredits.js'
import type { Team } from '../../segment/types.js'
import type { BalanceSample } from '../../storage.js'
import type { CreditState, CreditStateName } from './credit-state.js'

export interface GateOptions {
  state(): CreditState | undefined
  balance(): BalanceSample | undefined
  /** What a call is expected to cost. */
  estimate(): Nanocredits
  now(): number
}

/** How long callers are told to wait while credits are out: as long as it takes to notice that they are back. */
const RETRY_AFTER_SECONDS = { empty: 30, reserve: 60 } as const
/** While the account seems empty although the balance does not say so, one call is let through after so long: a refusal is free. */
const TRY_AGAIN_MS = 60_000

/** Says before anything is spent whether a team may spend at all. */
export class CreditGate {
  readonly #options: GateOptions
  #triedAt = Number.NEGATIVE_INFINITY

  constructor(options: GateOptions) {
    this.#options = options
  }

  /** Throws `credits_exhausted` (but for one call a minute, where it is not sure) or, for a team that is not protected, `credits_reserved`. */
  admit(team: Team): void {
    const refusal = this.refusal(team)
    if (!refusal) return
    if (refusal.code !== 'credits_exhausted' || !this.#mayTry()) throw refusal
    this.#triedAt = this.#options.now()
  }

  /** What `admit` would throw for want of credits. */
  refusal(team: Team): GatewayError | undefined {
    const name = this.#options.state()?.name
    if (name === 'empty') return creditsExhausted()
    return name === 'reserve' && !team.protected ? creditsReserved() : undefined
  }

  /** Segmind refused, and the balance says that it should not have, or is not heard any more. */
  #mayTry(): boolean {
    const { state, balance, estimate, now } = this.#options
    const since = state()?.since ?? 0
    if (now() - Math.max(since, this.#triedAt) < TRY_AGAIN_MS) return false
    const sample = balance()
    return !sample || sample.at <= since || sample.remaining >= 2 * estimate()
  }
}

export function creditsExhausted(): GatewayError {
  return new GatewayError(
    'credits_exhausted',
    'The shared Segmind account is out of credits; cached answers go on.',
    refused('empty'),
  )
}

export function creditsReserved(): GatewayError {
  return new GatewayError(
    'credits_reserved',
    'The remaining credits are reserved for protected teams; cached answers go on.',
    refused('reserve'),
  )
}

function refused(state: Exclude<CreditStateName, 'normal'>) {
  return { retryAfterSeconds: RETRY_AFTER_SECONDS[state], headers: { 'x-credit-state': state } }
}
