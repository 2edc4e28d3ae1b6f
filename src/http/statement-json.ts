import { type Nanocredits, toCredits } from '../nanocredits.js'
import type { UsageDay } from '../storage.js'

/** A month's statement as these doors tell it; amounts are integers of 10⁻⁹ credit, times milliseconds since 1970. */
export interface Statement {
  month: string
  policy: string
  teams: { team: string; totals: Figures; days: (Figures & { day: string })[] }[]
  totals: Figures
  account?: Account
  closed?: { at: number; by: string }
  sinceClosed?: { team: string; figures: Figures }[]
}

export interface Figures extends Omit<UsageDay, 'team' | 'day'> {
  billed: Nanocredits
}

interface Account {
  opening: { remaining: Nanocredits; at: number }
  closing: { remaining: Nanocredits; at: number }
  topUps: Nanocredits
  declined: Nanocredits
  booked: Nanocredits
  drift: Nanocredits
  notReconciledYet: Nanocredits
  events: { id: string; at: number; kind: string; amount: Nanocredits }[]
}

/** One step in the history of a month's closings. */
export interface ClosingStep {
  what: string
  at: number
  by: string
}

/** What a team reads: its own rows, and whether the month is closed. */
export function toTeamStatement({ policy, totals, teams, closed, sinceClosed }: Statement) {
  const [own] = teams
  return {
    policy,
    ...(closed && { closed: { at: toTime(closed.at) } }),
    ...(sinceClosed && { sinceClosed: { credits: toCredits(sinceClosed[0]?.figures.billed ?? 0) } }),
    totals: toFigures(totals),
    days: (own?.days ?? []).map(day => ({ day: day.day, ...toFigures(day) })),
  }
}

/** What operators read. */
export function toOperatorStatement(statement: Statement, closings: readonly ClosingStep[]) {
  const { month, policy, teams, totals, account, closed, sinceClosed } = statement
  return {
    month,
    policy,
    ...(closed && { closed: { at: toTime(closed.at), by: closed.by } }),
    ...(sinceClosed && {
      sinceClosed: sinceClosed.map(({ team, figures }) => ({ team, credits: toCredits(figures.billed) })),
    }),
    totals: toFigures(totals),
    teams: teams.map(({ team, totals, days }) => ({
      team,
      totals: toFigures(totals),
      days: days.map(day => ({ day: day.day, ...toFigures(day) })),
    })),
    ...(account && { account: toAccount(account) }),
    closings: closings.map(({ what, at, by }) => ({ what, at: toTime(at), by })),
  }
}

function toFigures(figures: Figures) {
  return {
    requests: figures.requests,
    paidCalls: figures.paidCalls,
    hits: figures.hits,
    coalesced: figures.coalesced,
    unknownCalls: figures.unknownCalls,
    pendingCalls: figures.reservedCalls,
    chargedCredits: toCredits(figures.charged),
    unknownCredits: toCredits(figures.unknown),
    pendingCredits: toCredits(figures.reserved),
    savedByCacheCredits: toCredits(figures.savedByCache),
    savedByCoalescingCredits: toCredits(figures.savedByCoalescing),
    sharedCredits: toCredits(figures.shared),
    billedCredits: toCredits(figures.billed),
  }
}

function toAccount({ opening, closing, events, ...account }: Account) {
  const balance = ({ remaining, at }: Account['opening']) => ({ credits: toCredits(remaining), at: toTime(at) })
  return {
    opening: balance(opening),
    closing: balance(closing),
    topUpCredits: toCredits(account.topUps),
    declinedCredits: toCredits(account.declined),
    bookedCredits: toCredits(account.booked),
    driftCredits: toCredits(account.drift),
    notReconciledYetCredits: toCredits(account.notReconciledYet),
    events: events.map(({ id, at, kind, amount }) => ({ id, at: toTime(at), kind, credits: toCredits(amount) })),
  }
}

/** RFC 3339. */
function toTime(at: number): string {
  return new Date(at).toISOString()
}
