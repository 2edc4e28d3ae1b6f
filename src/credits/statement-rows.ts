import { formatCredits } from '../contracts/nanocredits.js'
import type { Figures, Statement } from '../contracts/statements.js'

/** The columns of a statement in order. `isCredits`: the figure is an amount of credits. */
export const COLUMNS: Readonly<Record<keyof Figures, { heading: string; isCredits: boolean }>> = {
  requests: { heading: 'requests', isCredits: false },
  hits: { heading: 'hits', isCredits: false },
  coalesced: { heading: 'coalesced', isCredits: false },
  paidCalls: { heading: 'paid_calls', isCredits: false },
  charged: { heading: 'charged_credits', isCredits: true },
  unknownCalls: { heading: 'unknown_calls', isCredits: false },
  unknown: { heading: 'unknown_credits', isCredits: true },
  reservedCalls: { heading: 'pending_calls', isCredits: false },
  reserved: { heading: 'pending_credits', isCredits: true },
  savedByCache: { heading: 'saved_by_cache_credits', isCredits: true },
  savedByCoalescing: { heading: 'saved_by_coalescing_credits', isCredits: true },
  shared: { heading: 'shared_credits', isCredits: true },
  billed: { heading: 'billed_credits', isCredits: true },
}

export const HEADINGS: readonly string[] = Object.values(COLUMNS).map(({ heading }) => heading)

const NAMES = Object.keys(COLUMNS) as (keyof Figures)[]

/** Formats figures in the order of the columns, amounts as exact decimals of credits. */
export function cellsOf(figures: Figures): string[] {
  return NAMES.map(name => (COLUMNS[name].isCredits ? formatCredits(figures[name]) : `${figures[name]}`))
}

/** Lists the days of all teams, by day, then team. */
export function dayRows({ teams }: Statement): { day: string; team: string; figures: Figures }[] {
  const rows = teams.flatMap(({ team, days }) => days.map(({ day, ...figures }) => ({ day, team, figures })))
  // The sort is stable, so the teams keep their order.
  return rows.sort((a, b) => (a.day < b.day ? -1 : a.day > b.day ? 1 : 0))
}

/**
 * Formats a statement for a spreadsheet (RFC 4180, without the carriage return). Contains no
 * totals, so that sums over the lines are right. Amounts booked after the closing have one line per
 * team, with `since closed` in place of the day.
 */
export function* asCsv(statement: Statement): Generator<string> {
  yield ['day', 'team', ...HEADINGS].join(',')
  for (const { day, team, figures } of dayRows(statement)) yield [day, team, ...cellsOf(figures)].join(',')
  for (const { team, figures } of statement.sinceClosed ?? [])
    yield ['since closed', team, ...cellsOf(figures)].join(',')
}
