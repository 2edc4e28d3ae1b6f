import type { CreditState, CreditStateName } from '../../contracts/account.js'
import type { Clock } from '../../contracts/clock.js'
import { GatewayError } from '../../contracts/errors.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { BalanceSample } from '../../contracts/store.js'
import type { Team } from '../../contracts/types.js'

export interface CreditGateOptions {
  state: { readonly current: CreditState | undefined }
  balance: { readonly latest: BalanceSample | undefined }
  price: { current(): Nanocredits }
  now: Clock
}

/** `Retry-After` without credits: the time the gateway needs to notice that credits are back. */
const RETRY_AFTER_SECONDS = { empty: 30, reserve: 60 } as const
/**
 * Interval of probe calls while Segmind refuses calls but the balance does not explain it. A
 * refusal is free.
 */
const PROBE_MS = 60_000

/** Decides, before credits are spent, whether a team may spend. */
export class CreditGate {
  readonly #options: CreditGateOptions
  #probedAt = Number.NEGATIVE_INFINITY

  constructor(options: CreditGateOptions) {
    this.#options = options
  }

  /**
   * Throws `credits_exhausted` or, for a team that is not protected, `credits_reserved`. While it
   * is uncertain that credits are exhausted, admits one probe call a minute.
   */
  admit(team: Team): void {
    const refusal = this.refusal(team)
    if (!refusal) return
    if (refusal.code !== 'credits_exhausted' || !this.#mayProbe()) throw refusal
    this.#probedAt = this.#options.now()
  }

  /** Returns the error for a team that lacks credits, without admitting a probe. */
  refusal(team: Team): GatewayError | undefined {
    const name = this.#options.state.current?.name
    if (name === 'empty') return creditsExhausted()
    return name === 'reserve' && !team.protected ? creditsReserved() : undefined
  }

  /**
   * A probe is due if the balance is newer than the refusal and sufficient, or older than the
   * refusal.
   */
  #mayProbe(): boolean {
    const { state, balance, price, now } = this.#options
    const since = state.current?.since ?? 0
    if (now() - Math.max(since, this.#probedAt) < PROBE_MS) return false
    const sample = balance.latest
    return !sample || sample.at <= since || sample.remaining >= 2 * price.current()
  }
}

function creditsExhausted(): GatewayError {
  return new GatewayError(
    'credits_exhausted',
    'The shared Segmind account is out of credits. Cached results are still served.',
    refusalOptions('empty'),
  )
}

export function creditsReserved(): GatewayError {
  return new GatewayError(
    'credits_reserved',
    'The remaining credits are reserved for protected teams. Cached results are still served.',
    refusalOptions('reserve'),
  )
}

function refusalOptions(state: Exclude<CreditStateName, 'normal'>) {
  return { retryAfterSeconds: RETRY_AFTER_SECONDS[state], headers: { 'x-credit-state': state } }
}
