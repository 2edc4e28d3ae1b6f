import type { AccountStatus, BudgetStanding } from './account.js'
import type { Nanocredits } from './nanocredits.js'
import type { FailedRequest } from './records.js'

/**
 * The gateway at one moment, as operators see it. Members are absent while unknown; times are
 * milliseconds since 1970.
 */
export interface Overview {
  at: number
  startedAt: number
  credits: AccountStatus
  gateway: GatewayStatus
  /** The current budget windows: `2026-11-27`, `2026-11`. */
  day: string
  month: string
  /** Absent while the ledger cannot be read. */
  teams?: TeamStanding[]
  /** Keys that expire soon, the soonest first. */
  expiringKeys: { team: string; id: string; expiresAt: number; note?: string }[]
  /** The newest first. */
  errors: FailedRequest[]
  alerts: { type: string; key: string; text: string }[]
}

export interface GatewayStatus {
  inFlight: number
  /** Purchases waiting for a slot, by team. */
  queue: ReadonlyMap<string, number>
  breaker: BreakerState
  isStoreUp: boolean
  /** Problems of the teams file; empty when it is valid. */
  teamsFileProblems: readonly string[]
  unsaved: { results: number; bytes: number; ledgerSteps: number }
  cache: CacheTier[]
}

/**
 * `closed`: calls are sent to Segmind · `open`: calls fail at once · `probing`: a free request
 * tests whether Segmind is back.
 */
export type BreakerState = 'closed' | 'open' | 'probing'

export interface CacheTier {
  tier: 'memory' | 'store'
  bytes: number
  entries: number
}

/** A team with its budgets and its spending. */
export interface TeamStanding {
  id: string
  name: string
  disabled: boolean
  protected: boolean
  budgets: BudgetStanding[]
  overriddenUntil?: number
  today: TeamSpending
  month: TeamSpending
}

export interface TeamSpending {
  requests: number
  paidCalls: number
  charged: Nanocredits
  saved: Nanocredits
  unknown: Nanocredits
}

/** Activity of one minute. */
export interface Minute {
  requests: number
  errors: number
  /** Results by cache outcome: `hit`, `miss`, … */
  answers: Record<string, number>
  spent: Nanocredits
  saved: Nanocredits
  /** Booked for calls with an unknown outcome. */
  unknown: Nanocredits
  /** Spent by each team. */
  teams: Record<string, Nanocredits>
  /** The last known balance. */
  balance?: Nanocredits
  /** At the end of the minute: purchases waiting for a slot, and calls in flight. */
  queue: number
  inFlight: number
}

/**
 * One minute of all processes together. Quantiles cover the responses with a result; absent where
 * there was none.
 */
export interface HistoryMinute extends Minute {
  /** Start of the minute, milliseconds since 1970. */
  at: number
  p50Ms?: number
  p95Ms?: number
}
