import type { Nanocredits } from '../contracts/nanocredits.js'
import type {
  AccountMonth,
  AccountStatement,
  Chargeback,
  Figures,
  Statement,
  TeamStatement,
} from '../contracts/statements.js'
import type { UsageDay } from '../contracts/store.js'

/**
 * Computes a month's statement from the ledger. The only place that turns the policy into amounts.
 */
export function statementOf(
  month: string,
  data: { usage: readonly UsageDay[]; policy: Chargeback; account?: AccountMonth | undefined },
): Statement {
  const { usage, policy, account } = data
  const byTeam = new Map<string, UsageDay[]>()
  for (const row of usage) {
    const own = byTeam.get(row.team)
    if (own) own.push(row)
    else byTeam.set(row.team, [row])
  }
  const teams = [...byTeam.keys()].sort().map(team => teamStatement(team, byTeam.get(team) ?? [], policy))
  const totals = sum(teams.map(team => team.totals))
  return { month, policy, teams, totals, ...(account && { account: compare(account, totals) }) }
}

/** Reduces a statement to one team, without the shared account. */
export function narrowTo(team: string, statement: Statement): Statement {
  const { account: _shared, sinceClosed, ...own } = statement
  const teams = own.teams.filter(one => one.team === team)
  const since = sinceClosed?.filter(one => one.team === team)
  return { ...own, teams, totals: sum(teams.map(one => one.totals)), ...(since && { sinceClosed: since }) }
}

/** Lists the amounts booked after a statement was frozen, by the policy of that statement. */
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
    .map(({ team: _same, ...day }) => ({ ...day, billed: billed(day, policy) }))
    .sort((a, b) => (a.day < b.day ? -1 : 1))
  return { team, totals: sum(days), days }
}

/** An unknown call may have been billed, so its team pays for it until it is reconciled. */
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
