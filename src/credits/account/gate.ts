import type { CreditState, CreditStateName } from '../../contracts/account.js'
import type { Clock } from '../../contracts/clock.js'
import { defined } from '../../contracts/defined.js'
import { GatewayError } from '../../contracts/errors.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { BalanceSample } from '../../contracts/store.js'
import type { Team } from '../../contracts/types.js'
import type { CreditEvidence } from './credit-state.js'

export interface CreditGateOptions {
  state: { readonly current: CreditState | undefined; apply(evidence: CreditEvidence): Promise<void> }
  balance: { readonly latest: BalanceSample | undefined }
  /** Requests the balance now. Undefined if it cannot be known. Never rejects. */
  currentBalance(): Promise<Nanocredits | undefined>
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
/** Time for which a refusal that the balance does not explain counts for the same team and size. */
const LIMITED_MS = 60_000

/** Decides, before credits are spent, whether a team may spend. */
export class CreditGate {
  readonly #options: CreditGateOptions
  /** By team: calls with an image of this size or more are refused until then. */
  readonly #limited = new Map<string, { imageBytes: number; until: number }>()
  #probedAt = Number.NEGATIVE_INFINITY

  constructor(options: CreditGateOptions) {
    this.#options = options
  }

  /**
   * Throws `credits_exhausted` or, for a team that is not protected, `credits_reserved`. While it
   * is uncertain that credits are exhausted, admits one probe call a minute.
   */
  admit(team: Team, imageBytes: number): void {
    const refusal = this.refusal(team, imageBytes)
    if (!refusal) return
    const isEmpty = this.#options.state.current?.name === 'empty'
    if (!isEmpty || !this.#mayProbe()) throw refusal
    this.#probedAt = this.#options.now()
  }

  /** Returns the error for a team that lacks credits, without admitting a probe. */
  refusal(team: Team, imageBytes: number): GatewayError | undefined {
    const name = this.#options.state.current?.name
    if (name === 'empty') return creditsExhausted()
    if (name === 'reserve' && !team.protected) return creditsReserved()
    const limited = this.#limited.get(team.id)
    const leftMs = limited && imageBytes >= limited.imageBytes ? limited.until - this.#options.now() : 0
    return leftMs > 0 ? callRefused(Math.ceil(leftMs / 1000)) : undefined
  }

  /**
   * Called when Segmind refused a call for lack of credits. The account counts as empty unless its
   * balance covers the call: then only calls of this team, with an image of this size or more, are
   * refused for a minute. Returns the error for the callers. Never rejects.
   */
  async refused(_error: GatewayError, team: Team, imageBytes: number): Promise<GatewayError> {
    const { state, price, now, currentBalance } = this.#options
    const at = now()
    const remaining = await currentBalance()
    if (remaining === undefined || remaining < 2 * price.current()) {
      await state.apply({ kind: 'refused', at, ...defined({ remaining }) })
      return creditsExhausted()
    }
    const before = this.#limited.get(team.id)
    const smallest = before && before.until > at ? Math.min(before.imageBytes, imageBytes) : imageBytes
    this.#limited.set(team.id, { imageBytes: smallest, until: at + LIMITED_MS })
    return callRefused(LIMITED_MS / 1000)
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

function callRefused(retryAfterSeconds: number): GatewayError {
  const detail =
    'Segmind refused a call for lack of credits although the account has some: a spend limit, or a call that ' +
    'costs more than is left. Only calls of your team with images of that size or more are held back.'
  return new GatewayError('credits_exhausted', detail, { retryAfterSeconds })
}

function refusalOptions(state: Exclude<CreditStateName, 'normal'>) {
  return { retryAfterSeconds: RETRY_AFTER_SECONDS[state], headers: { 'x-credit-state': state } }
}
