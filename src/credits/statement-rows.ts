import { formatCredits } from '../nanocredits.js'
import type { Figures, Statement } from './statement.js'

/** The columns of a statement in their order: heading, and whether the figure is an amount of credits. */
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

/** Figures as texts in the order of the columns, amounts as exact decimals of credits. */
export function cellsOf(figures: Figures): string[] {
  return NAMES.map(name => (COLUMNS[name].isCredits ? formatCredits(figures[name]) : `${figures[name]}`))
}

/** Every team's days, by day, then team. */
export function dayRows({ teams }: Statement): { day: string; team: string; figures: Figures }[] {
  const rows = teams.flatMap(({ team, days }) => days.map(({ day, ...figures }) => ({ day, team, figures })))
  // In a stable sort the teams stay in their order.
  return rows.sort((a, b) => (a.day < b.day ? -1 : a.day > b.day ? 1 : 0))
}

/**
 * For a spreadsheet (RFC 4180, without the carriage return): the days only, so that sums come out right. What was booked to a closed month
 * since has a line of its own for each team, with `since closed` in place of the day.
 */
export function asCsv(statement: Statement): string[] {
  const days = dayRows(statement).map(({ day, team, figures }) => [day, team, ...cellsOf(figures)])
  const late = (statement.sinceClosed ?? []).map(({ team, figures }) => ['since closed', team, ...cellsOf(figures)])
  return [['day', 'team', ...HEADINGS], ...days, ...late].map(cells => cells.join(','))
}
