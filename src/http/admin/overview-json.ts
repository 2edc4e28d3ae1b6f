import { toCredits } from '../../contracts/nanocredits.js'
import type { GatewayStatus, HistoryMinute, Overview, TeamSpending, TeamStanding } from '../../contracts/overview.js'
import { accountToJson } from './credits.js'

export function overviewToJson({ at, startedAt, credits, gateway, teams, ...rest }: Overview) {
  return {
    at: toTime(at),
    startedAt: toTime(startedAt),
    day: rest.day,
    month: rest.month,
    credits: accountToJson(credits),
    gateway: gatewayToJson(gateway),
    ...(teams && { teams: teams.map(teamToJson) }),
    expiringKeys: rest.expiringKeys.map(({ expiresAt, ...key }) => ({ ...key, expiresAt: toTime(expiresAt) })),
    errors: rest.errors.map(error => ({ ...error, at: toTime(error.at) })),
    alerts: rest.alerts.map(({ type, key, text }) => ({ type, key, text })),
  }
}

export function minuteToJson({ at, spent, saved, unknown, teams, balance, ...minute }: HistoryMinute) {
  return {
    at: toTime(at),
    ...minute,
    spentCredits: toCredits(spent),
    savedCredits: toCredits(saved),
    unknownCredits: toCredits(unknown),
    teams: Object.fromEntries(Object.entries(teams).map(([team, amount]) => [team, toCredits(amount)])),
    ...(balance !== undefined && { balanceCredits: toCredits(balance) }),
  }
}

function gatewayToJson({ queue, isStoreUp, teamsFileProblems, ...gateway }: GatewayStatus) {
  return {
    ...gateway,
    queue: [...queue].map(([team, waiting]) => ({ team, waiting })),
    store: isStoreUp ? 'up' : 'down',
    teamsFile: teamsFileProblems.length === 0 ? 'ok' : 'refused',
    teamsFileProblems,
  }
}

function teamToJson({ budgets, overriddenUntil, today, month, ...team }: TeamStanding) {
  return {
    ...team,
    budgets: budgets.map(({ window, limit, booked, remaining }) => ({
      window,
      limitCredits: toCredits(limit),
      bookedCredits: toCredits(booked),
      remainingCredits: toCredits(remaining),
    })),
    ...(overriddenUntil !== undefined && { overriddenUntil: toTime(overriddenUntil) }),
    today: spendingToJson(today),
    thisMonth: spendingToJson(month),
  }
}

function spendingToJson({ requests, paidCalls, charged, saved, unknown }: TeamSpending) {
  return {
    requests,
    paidCalls,
    chargedCredits: toCredits(charged),
    savedCredits: toCredits(saved),
    unknownCredits: toCredits(unknown),
  }
}

function toTime(at: number): string {
  return new Date(at).toISOString()
}
