import type { AccountEvent } from './account.js'
import type { BalanceReading, UsageDay } from './ledger.js'
import type { Nanocredits } from './nanocredits.js'
import type { AuditActor } from './records.js'

/**
 * `CHARGEBACK`: who pays for a shared result. `first-payer`: its buyer · `split`: every team that
 * used it, in equal parts.
 */
export type Chargeback = 'first-payer' | 'split'

/** Figures of a team's day, or of several added up. */
export interface Figures extends Omit<UsageDay, 'team' | 'day'> {
  /** Amount the policy bills. Negative under `split` for a team that is owed more than it spent. */
  billed: Nanocredits
}

interface StatementDay extends Figures {
  day: string
}

export interface TeamStatement {
  team: string
  totals: Figures
  /** Days with any activity, in order. */
  days: StatementDay[]
}

/**
 * One month: days and totals of every team, overall totals, and the comparison with the account.
 */
export interface Statement {
  month: string
  policy: Chargeback
  /** Ordered by id. */
  teams: TeamStatement[]
  totals: Figures
  /** Absent while the account is unknown, and in the statement of one team. */
  account?: AccountStatement
  /**
   * Present on a closed month. The figures are those of the closing, `at` in milliseconds since
   * 1970.
   */
  closed?: { at: number; by: AuditActor }
  /** On a closed month: amounts booked after the closing, by team. */
  sinceClosed?: { team: string; figures: Figures }[]
}

/**
 * One month of the account: opening − closing + topUps = booked + drift, exact to the nanocredit.
 */
export interface MonthSums {
  /** The last reconciled balance before this month, or the first known one. */
  opening: BalanceReading
  /** The last reconciled balance of this month. */
  closing: BalanceReading
  topUps: Nanocredits
  /** Charged and unknown calls of all teams between the two. */
  booked: Nanocredits
  /** Credits that left the account and are booked to no team. */
  drift: Nanocredits
}

export interface AccountMonth extends MonthSums {
  events: AccountEvent[]
}

export interface AccountStatement extends AccountMonth {
  /** Credits that left the account: opening − closing + topUps. */
  declined: Nanocredits
  /**
   * Amounts the teams booked beyond `booked`: calls after the last reconciled balance, or across
   * the month's edge.
   */
  notReconciledYet: Nanocredits
}

/** One step in the history of closings. */
export interface ClosingStep {
  month: string
  what: 'closed' | 'reopened'
  /** Milliseconds since 1970. */
  at: number
  by: AuditActor
  /** When the month was closed; on a `closed` step the same as `at`. */
  closedAt: number
}
