import { formatCredits } from '../contracts/nanocredits.js'
import type { AccountStatement, ClosingStep, Figures, Statement } from '../contracts/statements.js'
import { COLUMNS, cellsOf, dayRows, HEADINGS } from '../credits/statement-rows.js'
import { textTable } from './text-table.js'

const TOTAL = 'total'

/**
 * Renders a statement for a terminal: days, teams (if several), total; then the charging policy,
 * the closing and the account.
 */
export function asTable(statement: Statement): string[] {
  const { month, teams, totals } = statement
  const days = dayRows(statement)
  if (days.length === 0) return [`Nothing was used in ${month}.`, ...notesOn(statement)]
  const heading = ['day', 'team', ...HEADINGS.map(name => name.replaceAll('_', ' '))]
  const sums = [...(teams.length > 1 ? teams : []), { team: TOTAL, totals }]
  const rows = [
    ...days.map(({ day, team, figures }) => [day, team, ...cellsOf(figures)]),
    ...sums.map(({ team, totals }) => [month, team, ...cellsOf(totals)]),
  ]
  const numbers = new Set(heading.map((_, column) => column).slice(2))
  return [...textTable([heading, ...rows], numbers), '', ...notesOn(statement)]
}

/** Renders a statement as JSON, with exact amounts as decimal strings and times in RFC 3339. */
export function asJson(statement: Statement, closings: readonly ClosingStep[]): string {
  const { month, policy, teams, totals, account, closed, sinceClosed } = statement
  const json = {
    month,
    policy,
    ...(closed && { closed: { at: timeOf(closed.at), by: closed.by } }),
    ...(sinceClosed && {
      since_closed: sinceClosed.map(({ team, figures }) => ({ team, credits: formatCredits(figures.billed) })),
    }),
    days: dayRows(statement).map(({ day, team, figures }) => membersOf(day, team, figures)),
    teams: teams.map(({ team, totals }) => membersOf(month, team, totals)),
    total: membersOf(month, TOTAL, totals),
    ...(account && { account: accountMembers(account) }),
    closings: closings.map(({ what, at, by }) => ({ what, at: timeOf(at), by })),
  }
  return JSON.stringify(json, null, 2)
}

const POLICIES: Readonly<Record<Statement['policy'], string>> = {
  'first-payer': 'billed = charged + unknown: the team that bought a result pays for it (first-payer)',
  split: 'billed = charged + unknown + shared: all teams that use a result pay equal parts (split)',
}

function notesOn({ policy, account, closed, sinceClosed }: Statement): string[] {
  return [
    POLICIES[policy],
    ...(closed ? [`closed ${timeOf(closed.at)} by ${closed.by}; since then ${changes(sinceClosed ?? [])}`] : []),
    ...(account ? accountLines(account) : []),
  ]
}

function changes(since: NonNullable<Statement['sinceClosed']>): string {
  if (since.length === 0) return 'nothing was booked to it'
  return since.map(({ team, figures }) => `${team} ${formatCredits(figures.billed)}`).join(', ')
}

function accountLines(account: AccountStatement): string[] {
  const { opening, closing, topUps, declined, booked, drift, notReconciledYet, events } = account
  const rows = [
    ['account', formatCredits(opening.remaining), `on ${timeOf(opening.at)}`],
    ['+ top-ups', formatCredits(topUps)],
    ['− account', formatCredits(closing.remaining), `on ${timeOf(closing.at)}`],
    ['= declined', formatCredits(declined)],
    ['booked', formatCredits(booked), 'charged + unknown in that time'],
    ['drift', formatCredits(drift), 'declined − booked'],
    ['not reconciled yet', formatCredits(notReconciledYet), 'charged + unknown of this month − booked'],
    ...events.map(({ kind, amount, at }) => [kind, formatCredits(amount), `on ${timeOf(at)}`]),
  ]
  return ['', ...textTable([['', 'credits', ''], ...rows], new Set([1]))]
}

function membersOf(day: string, team: string, figures: Figures): Record<string, string | number> {
  const names = Object.keys(COLUMNS) as (keyof Figures)[]
  const memberOf = (name: keyof Figures) => (COLUMNS[name].isCredits ? formatCredits(figures[name]) : figures[name])
  return { day, team, ...Object.fromEntries(names.map(name => [COLUMNS[name].heading, memberOf(name)])) }
}

function accountMembers({ opening, closing, events, ...account }: AccountStatement) {
  const balance = ({ remaining, at }: AccountStatement['opening']) => ({
    credits: formatCredits(remaining),
    at: timeOf(at),
  })
  return {
    opening: balance(opening),
    closing: balance(closing),
    top_up_credits: formatCredits(account.topUps),
    declined_credits: formatCredits(account.declined),
    booked_credits: formatCredits(account.booked),
    drift_credits: formatCredits(account.drift),
    not_reconciled_yet_credits: formatCredits(account.notReconciledYet),
    events: events.map(({ id, at, kind, amount }) => ({ id, at: timeOf(at), kind, credits: formatCredits(amount) })),
  }
}

const timeOf = (at: number) => new Date(at).toISOString()
