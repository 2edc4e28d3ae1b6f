import type { Nanocredits } from '../nanocredits.js'

/** What alerts are about, as it is now. Amounts are integers of 10⁻⁹ credit, times milliseconds since 1970. */
export interface AlertFacts {
  budgets(): Promise<readonly BudgetFact[]>
  credits(): Promise<CreditFacts>
  /** Whether Segmind takes the shared key, as far as this process knows. */
  sharedKey(): 'accepted' | 'refused' | undefined
}

/** One window of a team's budget. */
export interface BudgetFact {
  team: string
  window: 'daily' | 'monthly'
  /** `2026-11-27` or `2026-11`. */
  windowName: string
  limit: Nanocredits
  /** Charged, unknown and reserved. */
  booked: Nanocredits
  /** Shares of the limit that are worth an alert: 0.8 = 80 %. */
  alertAt: readonly number[]
}

export interface CreditFacts {
  /** The account's; absent while unknown. */
  balance?: { remaining: Nanocredits; at: number }
  /** Nanocredits a second, by window; absent while unknown. */
  burn: { '1h'?: number; '24h'?: number; '7d'?: number }
  /** `before` is absent when the gateway has just begun to look. */
  state: { name: CreditStateName; since: number; before?: CreditStateName } | undefined
  /** Credits that left the account and are not ours, of the last 24 hours. */
  drifts: readonly { id: string; at: number; kind: 'foreign'; amount: Nanocredits }[]
}

export type CreditStateName = 'normal' | 'reserve' | 'empty'

/** Something worth telling, once for each `key`. */
export interface Condition {
  key: string
  type: AlertType
  data: Record<string, unknown>
  /** A sentence for people. */
  text: string
  /** Keys of lesser conditions that hold as well and are told by this one. */
  covers?: readonly string[]
  isOver?: false
}

/** A condition that does not hold, and would be told anew if it came back. */
export interface OverCondition {
  key: string
  isOver: true
}

export type AlertType =
  | 'budget.threshold'
  | 'credits.runway'
  | 'credits.state'
  | 'credits.drift'
  | 'upstream.unauthorized'
