import type { Nanocredits } from '../nanocredits.js'
import type { UsageDay } from '../storage.js'
import type { AccountMonth } from './account/record.js'

/** `CHARGEBACK`: who bears an answer that several teams use. `first-payer`: who bought it; `split`: all of them in equal parts. */
export type Chargeback = 'first-payer' | 'split'

/** What is told of a team's day, or of several added up. */
export interface Figures extends Omit<UsageDay, 'team' | 'day'> {
  /** What is to be paid by the policy; under `split` a team that is owed more than it spent has less than 0. */
  billed: Nanocredits
}

export interface StatementDay extends Figures {
  day: string
}

export interface TeamStatement {
  team: string
  totals: Figures
  /** Those on which something happened, in order. */
  days: StatementDay[]
}

/** One month: every team's days, each team added up, everything, and how that compares with the account. */
export interface Statement {
  month: string
  policy: Chargeback
  /** In the order of their ids. */
  teams: TeamStatement[]
  totals: Figures
  /** Absent while nothing is known of the account, and in a statement of one team. */
  account?: AccountStatement
  /** When and by whom the month was closed; the figures above are those of that moment. */
  closed?: { at: number; by: ClosedBy }
  /** In a closed month: what has been booked to it since, by team, where money has moved. */
  sinceClosed?: { team: string; figures: Figures }[]
}

export type ClosedBy = 'operator' | 'cli'

export interface AccountStatement extends AccountMonth {
  /** What left the account: opening − closing + topUps. */
  declined: Nanocredits
  /** What the teams have booked in the month beyond `booked`: calls after the last agreed balance, or across the month's edge. */
  notReconciledYet: Nanocredits
}

/** Makes a month's statement of what the ledger has: the one place where a policy becomes an amount. */
export function statementOf(
  month: string,
  books: { usage: readonly UsageDay[]; policy: Chargeback; account?: AccountMonth | undefined },
): Statement {
  const { usage, policy, account } = books
  const ids = [...new Set(usage.map(({ team }) => team))].sort()
  const teams = ids.map(team => teamStatement(team, usage, policy))
  const totals = sum(teams.map(team => team.totals))
  return { month, policy, teams, totals, ...(account && { account: compare(account, totals) }) }
}

/** The same statement for one team alone: the account is everybody's. */
export function narrowTo(team: string, statement: Statement): Statement {
  const { account: _everybodys, sinceClosed, ...own } = statement
  const teams = own.teams.filter(one => one.team === team)
  const since = sinceClosed?.filter(one => one.team === team)
  return { ...own, teams, totals: sum(teams.map(one => one.totals)), ...(since && { sinceClosed: since }) }
}

/** What has been booked since a statement was frozen, by its own policy: nothing is dropped because a month is closed. */
export function bookedSince(frozen: Statement, usage: readonly UsageDay[]): { team: string; figures: Figures }[] {
  const live = statementOf(frozen.month, { usage, policy: frozen.policy })
  const ids = [...new Set([...frozen.teams, ...live.teams].map(({ team }) => team))].sort()
  const totalsOf = (statement: Statement, team: string) =>
    statement.teams.find(one => one.team === team)?.totals ?? NOTHING
  return ids
    .map(team => ({ team, figures: less(totalsOf(live, team), totalsOf(frozen, team)) }))
    .filter(({ figures }) => MONEY.some(name => figures[name] !== 0))
}

const NOTHING: Figures = {
  requests: 0,
  hits: 0,
  coalesced: 0,
  savedByCache: 0,
  savedByCoalescing: 0,
  paidCalls: 0,
  charged: 0,
  unknownCalls: 0,
  unknown: 0,
  reservedCalls: 0,
  reserved: 0,
  shared: 0,
  billed: 0,
}

const NAMES = Object.keys(NOTHING) as (keyof Figures)[]
const MONEY = ['charged', 'unknown', 'reserved', 'shared', 'billed'] as const

function teamStatement(team: string, usage: readonly UsageDay[], policy: Chargeback): TeamStatement {
  const days = usage
    .filter(day => day.team === team)
    .map(({ team: _same, ...day }) => ({ ...day, billed: billed(day, policy) }))
    .sort((a, b) => (a.day < b.day ? -1 : 1))
  return { team, totals: sum(days), days }
}

/** What is unknown may have been billed by Segmind, so somebody pays for it until it is reconciled: whoever asked. */
function billed({ charged, unknown, shared }: Omit<UsageDay, 'team'>, policy: Chargeback): Nanocredits {
  return charged + unknown + (policy === 'split' ? shared : 0)
}

function compare(account: AccountMonth, { charged, unknown }: Figures): AccountStatement {
  const { opening, closing, topUps, booked } = account
  return {
    ...account,
    declined: opening.remaining - closing.remaining + topUps,
    notReconciledYet: charged + unknown - booked,
  }
}

function sum(rows: readonly Figures[]): Figures {
  return each(name => rows.reduce((total, row) => total + row[name], 0))
}

function less(one: Figures, other: Figures): Figures {
  return each(name => one[name] - other[name])
}

function each(figure: (name: keyof Figures) => number): Figures {
  return Object.fromEntries(NAMES.map(name => [name, figure(name)])) as unknown as Figures
}
