import { GatewayError } from '../../src/errors.js'
import type { Upstream, UpstreamOutcome } from '../../src/segment/ports.js'

/** One bill in the account's own books: whose call it was (`foreign`: somebody else with the same key), and whether the gateway was told. */
export interface BilledCall {
  who: string
  cost: number
  isTold: boolean
}

type Weather = 'fine' | 'failing' | 'silent' | 'billing silently'

/** Segmind as it looks from its own side: an account, a price, and calls that end when the test lets them. Amounts are integers of 10⁻⁹ credit. */
export class SimulatedSegmind {
  balance: number
  topUps = 0
  balanceQuestions = 0
  price: () => number
  readonly bills: BilledCall[] = []
  /** Calls that were refused for want of credits. */
  refusals = 0
  #weather: Weather = 'fine'
  readonly #pending: { who: string; end(outcome: UpstreamOutcome): void }[] = []

  constructor(balance: number, price: () => number) {
    this.balance = balance
    this.price = price
  }

  /** As one team's calls see it; whose they are is told by the prompt: `team: thing`. */
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

  async tellBalance(): Promise<number> {
    this.balanceQuestions++
    if (this.#weather !== 'fine') throw new GatewayError('upstream_unavailable', 'no answer')
    return this.balance
  }

  turn(weather: Weather): void {
    this.#weather = weather
  }

  topUp(amount: number): void {
    this.balance += amount
    this.topUps += amount
  }

  /** Somebody outside of the gateway spends with the same key. */
  foreignUse(cost: number): void {
    this.#bill('foreign', cost, false)
  }

  /** Bills every call that has arrived, in an order of its own, and answers them in another. */
  answerAll(random: () => number): void {
    const arrived = shuffled(this.#pending.splice(0), random)
    const answers = arrived.map(({ who, end }) => ({ end, outcome: this.#outcomeOf(who) }))
    for (const { end, outcome } of shuffled(answers, random)) end(outcome)
  }

  billed(who: string, isTold?: boolean): number {
    const own = this.bills.filter(bill => bill.who === who && (isTold === undefined || bill.isTold === isTold))
    return own.reduce((sum, { cost }) => sum + cost, 0)
  }

  get spent(): number {
    return this.bills.reduce((sum, { cost }) => sum + cost, 0)
  }

  #outcomeOf(who: string): UpstreamOutcome {
    if (this.#weather === 'failing') return failed('upstream_failed', 'no')
    if (this.#weather === 'silent') return failed('upstream_timeout', 'unknown')
    const cost = this.price()
    if (this.balance < cost) {
      this.refusals++
      return failed('credits_exhausted', 'no', this.balance)
    }
    this.#bill(who, cost, this.#weather === 'fine')
    if (this.#weather === 'billing silently') return failed('upstream_timeout', 'unknown')
    return {
      kind: 'answered',
      body: Buffer.from('mask'),
      contentType: 'image/jpeg',
      bill: { cost, remaining: this.balance },
    }
  }

  #bill(who: string, cost: number, isTold: boolean): void {
    this.balance -= cost
    this.bills.push({ who, cost, isTold })
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
