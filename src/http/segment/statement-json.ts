import { toCredits } from '../../contracts/nanocredits.js'
import type { AccountStatement, ClosingStep, Figures, Statement } from '../../contracts/statements.js'
import type { BalanceReading } from '../../contracts/store.js'

/** Returns what a team sees: its own days and totals, and the closing of the month. */
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

/** Returns what operators see: every team, the account, and the closings of the month. */
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

function toAccount({ opening, closing, events, ...account }: AccountStatement) {
  return {
    opening: toBalance(opening),
    closing: toBalance(closing),
    topUpCredits: toCredits(account.topUps),
    declinedCredits: toCredits(account.declined),
    bookedCredits: toCredits(account.booked),
    driftCredits: toCredits(account.drift),
    notReconciledYetCredits: toCredits(account.notReconciledYet),
    events: events.map(({ id, at, kind, amount }) => ({ id, at: toTime(at), kind, credits: toCredits(amount) })),
  }
}

function toBalance({ remaining, at }: BalanceReading) {
  return { credits: toCredits(remaining), at: toTime(at) }
}

/** RFC 3339. */
function toTime(at: number): string {
  return new Date(at).toISOString()
}
