import { formatCredits } from '../nanocredits.js'
import type { UsageDay } from '../storage.js'
import { textTable } from './text-table.js'

/** What is told of a team's day, or of several added up. Credits are integers of 10⁻⁹. */
export interface UsageRow {
  day: string
  team: string
  requests: number
  hits: number
  coalesced: number
  paidCalls: number
  charged: number
  unknownCalls: number
  unknown: number
  reserved: number
  saved: number
}

type Figure = Exclude<keyof UsageRow, 'day' | 'team'>

/** The columns in their order: heading, and whether the figure is an amount of credits. */
const FIGURES: Readonly<Record<Figure, { heading: string; isCredits: boolean }>> = {
  requests: { heading: 'requests', isCredits: false },
  hits: { heading: 'hits', isCredits: false },
  coalesced: { heading: 'coalesced', isCredits: false },
  paidCalls: { heading: 'paid_calls', isCredits: false },
  charged: { heading: 'charged_credits', isCredits: true },
  unknownCalls: { heading: 'unknown_calls', isCredits: false },
  unknown: { heading: 'unknown_credits', isCredits: true },
  reserved: { heading: 'reserved_credits', isCredits: true },
  saved: { heading: 'saved_credits', isCredits: true },
}

const NAMES = Object.keys(FIGURES) as Figure[]
const TOTAL = 'total'

/** A statement: every team's days, each team added up, and everything. */
export interface Statement {
  month: string
  days: UsageRow[]
  teams: UsageRow[]
  total: UsageRow
}

/** Adds up the days of a month, by day, then team. */
export function statementOf(month: string, usage: readonly UsageDay[]): Statement {
  const days = usage.map(rowOf).sort((a, b) => compare(a.day, b.day) || compare(a.team, b.team))
  const ids = [...new Set(days.map(row => row.team))].sort(compare)
  const teams = ids.map(team =>
    sum(
      month,
      team,
      days.filter(row => row.team === team),
    ),
  )
  return { month, days, teams, total: sum(month, TOTAL, days) }
}

/** For a terminal: the days, a line for each team where there are several, and the total. */
export function asTable({ month, days, teams, total }: Statement): string[] {
  if (days.length === 0) return [`Nothing was used in ${month}.`]
  const heading = ['day', 'team', ...NAMES.map(name => FIGURES[name].heading.replaceAll('_', ' '))]
  const rows = [...days, ...(teams.length > 1 ? teams : []), total]
  return textTable([heading, ...rows.map(cellsOf)], new Set(heading.map((_, column) => column).slice(2)))
}

/** For a spreadsheet (RFC 4180, without the carriage return): the days only, so that sums come out right. */
export function asCsv({ days }: Statement): string[] {
  const heading = ['day', 'team', ...NAMES.map(name => FIGURES[name].heading)]
  return [heading, ...days.map(cellsOf)].map(cells => cells.join(','))
}

/** For programs: amounts as decimal strings, which keep every digit. */
export function asJson({ month, days, teams, total }: Statement): string {
  const told = { month, days: days.map(membersOf), teams: teams.map(membersOf), total: membersOf(total) }
  return JSON.stringify(told, null, 2)
}

function rowOf(usage: UsageDay): UsageRow {
  return { ...usage, saved: usage.savedByCache + usage.savedByCoalescing }
}

function sum(day: string, team: string, rows: readonly UsageRow[]): UsageRow {
  const figures = NAMES.map(name => [name, rows.reduce((total, row) => total + row[name], 0)])
  return { day, team, ...(Object.fromEntries(figures) as Record<Figure, number>) }
}

function cellsOf(row: UsageRow): string[] {
  return [row.day, row.team, ...NAMES.map(name => told(row, name))]
}

function membersOf(row: UsageRow): Record<string, string | number> {
  const figures = NAMES.map(name => [FIGURES[name].heading, FIGURES[name].isCredits ? told(row, name) : row[name]])
  return { day: row.day, team: row.team, ...Object.fromEntries(figures) }
}

function told(row: UsageRow, name: Figure): string {
  return FIGURES[name].isCredits ? formatCredits(row[name]) : `${row[name]}`
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)
