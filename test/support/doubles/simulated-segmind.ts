import { GatewayError } from '../../../src/contracts/errors.js'
import type { Upstream, UpstreamOutcome } from '../../../src/segment/ports.js'

/** One charge to the account. `isReported`: the gateway received the cost. */
export interface BilledCall {
  /** The team, or `foreign` for another user of the key. */
  who: string
  cost: number
  isReported: boolean
}

type Mode = 'normal' | 'failing' | 'timing out' | 'billing and timing out'

/**
 * The upstream side of an account: balance, price and calls that wait for `answerAll`. Amounts in
 * 10⁻⁹ credit.
 */
export class SimulatedSegmind {
  balance: number
  topUps = 0
  balanceRequests = 0
  price: () => number
  readonly bills: BilledCall[] = []
  /** Calls refused because the balance was too small. */
  refusals = 0
  #mode: Mode = 'normal'
  readonly #pending: { who: string; end(outcome: UpstreamOutcome): void }[] = []

  constructor(balance: number, price: () => number) {
    this.balance = balance
    this.price = price
  }

  /** Creates the upstream port. The prompt names the team: `team: thing`. */
  upstreamOf(onAttempt: (code: string) => void): Upstream {
    return {
      admit: () => {},
      segment: async (_image, { prompt = '' }) => {
        const [who = ''] = prompt.split(':')
        const outcome = await new Promise<UpstreamOutcome>(end => this.#pending.push({ who, end }))
        onAttempt(outcome.kind === 'failed' ? outcome.error.code : 'ok')
        return outcome
      },
      resume: async () => failed('upstream_failed', 'unknown'),
    }
  }

  get pending(): number {
    return this.#pending.length
  }

  async readBalance(): Promise<number> {
    this.balanceRequests++
    if (this.#mode !== 'normal') throw new GatewayError('upstream_unavailable', 'no answer')
    return this.balance
  }

  setMode(mode: Mode): void {
    this.#mode = mode
  }

  topUp(amount: number): void {
    this.balance += amount
    this.topUps += amount
  }

  /** Bills a call that another user of the same key made. */
  spendElsewhere(cost: number): void {
    this.#bill('foreign', cost, false)
  }

  /** Bills every pending call in random order, then answers them in another random order. */
  answerAll(random: () => number): void {
    const arrived = shuffled(this.#pending.splice(0), random)
    const answers = arrived.map(({ who, end }) => ({ end, outcome: this.#outcomeOf(who) }))
    for (const { end, outcome } of shuffled(answers, random)) end(outcome)
  }

  billed(who: string, isReported?: boolean): number {
    const own = this.bills.filter(
      bill => bill.who === who && (isReported === undefined || bill.isReported === isReported),
    )
    return own.reduce((sum, { cost }) => sum + cost, 0)
  }

  get spent(): number {
    return this.bills.reduce((sum, { cost }) => sum + cost, 0)
  }

  #outcomeOf(who: string): UpstreamOutcome {
    if (this.#mode === 'failing') return failed('upstream_failed', 'no')
    if (this.#mode === 'timing out') return failed('upstream_timeout', 'unknown')
    const cost = this.price()
    if (this.balance < cost) {
      this.refusals++
      return failed('credits_exhausted', 'no', this.balance)
    }
    this.#bill(who, cost, this.#mode === 'normal')
    if (this.#mode === 'billing and timing out') return failed('upstream_timeout', 'unknown')
    return {
      kind: 'answered',
      body: Buffer.from('mask'),
      contentType: 'image/jpeg',
      bill: { cost, remaining: this.balance },
    }
  }

  #bill(who: string, cost: number, isReported: boolean): void {
    this.balance -= cost
    this.bills.push({ who, cost, isReported })
  }
}

function failed(
  code: 'upstream_failed' | 'upstream_timeout' | 'credits_exhausted',
  billed: 'no' | 'unknown',
  remaining?: number,
): UpstreamOutcome {
  const error = new GatewayError(code, 'it failed', { billed })
  return { kind: 'failed', error, bill: remaining === undefined ? {} : { remaining } }
}

function shuffled<T>(list: readonly T[], random: () => number): T[] {
  const rest = [...list]
  for (let left = rest.length - 1; left > 0; left--) {
    const other = Math.floor(random() * (left + 1))
    const [one, two] = [rest[left] as T, rest[other] as T]
    rest[left] = two
    rest[other] = one
  }
  return rest
}
