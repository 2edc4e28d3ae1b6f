import { type Nanocredits, toCredits } from '../nanocredits.js'
import { type CreditFacts, toldOf } from './credits-route.js'

/** The gateway at one moment, as operators see it. Times are milliseconds since 1970, amounts integers of 10⁻⁹ credit; what is not known is absent. */
export interface Overview {
  at: number
  startedAt: number
  credits: CreditFacts
  gateway: GatewayFacts
  /** Where budgets are counted: `2026-11-27`, `2026-11`. */
  day: string
  month: string
  /** Absent while the books cannot be read. */
  teams?: TeamStanding[]
  /** Keys that end soon, the soonest first. */
  expiringKeys: { team: string; id: string; expiresAt: number; note?: string }[]
  /** The newest first. */
  errors: { at: number; requestId: string; route: string; team: string; status: number; code: string }[]
  alerts: { type: string; key: string; text: string }[]
}

export interface GatewayFacts {
  inFlight: number
  /** Purchases waiting for a turn, by team. */
  queue: ReadonlyMap<string, number>
  breaker: string
  isStoreUp: boolean
  /** What is wrong with the teams file; nothing where it is good. */
  teamsFileProblems: readonly string[]
  unsaved: { results: number; bytes: number; ledgerSteps: number }
  cache: { tier: string; bytes: number; entries: number }[]
}

export interface TeamStanding {
  id: string
  name: string
  disabled: boolean
  protected: boolean
  budgets: { window: string; limit: Nanocredits; booked: Nanocredits; remaining: Nanocredits }[]
  overriddenUntil?: number
  today: Spending
  month: Spending
}

export interface Spending {
  requests: number
  paidCalls: number
  charged: Nanocredits
  saved: Nanocredits
  unknown: Nanocredits
}

export function toldOverview({ at, startedAt, credits, gateway, teams, ...rest }: Overview) {
  return {
    ...{ at: iso(at), startedAt: iso(startedAt), day: rest.day, month: rest.month },
    credits: toldOf(credits),
    gateway: toldGateway(gateway),
    ...(teams && { teams: teams.map(toldTeam) }),
    expiringKeys: rest.expiringKeys.map(({ expiresAt, ...key }) => ({ ...key, expiresAt: iso(expiresAt) })),
    errors: rest.errors.map(error => ({ ...error, at: iso(error.at) })),
    alerts: rest.alerts.map(({ type, key, text }) => ({ type, key, text })),
  }
}

function toldGateway({ queue, isStoreUp, teamsFileProblems, ...gateway }: GatewayFacts) {
  return {
    ...gateway,
    queue: [...queue].map(([team, waiting]) => ({ team, waiting })),
    store: isStoreUp ? 'up' : 'down',
    teamsFile: teamsFileProblems.length === 0 ? 'ok' : 'refused',
    teamsFileProblems,
  }
}

function toldTeam({ budgets, overriddenUntil, today, month, ...team }: TeamStanding) {
  return {
    ...team,
    budgets: budgets.map(({ window, limit, booked, remaining }) => ({
      window,
      ...{ limitCredits: toCredits(limit), bookedCredits: toCredits(booked), remainingCredits: toCredits(remaining) },
    })),
    ...(overriddenUntil !== undefined && { overriddenUntil: iso(overriddenUntil) }),
    today: toldSpending(today),
    thisMonth: toldSpending(month),
  }
}

function toldSpending({ requests, paidCalls, charged, saved, unknown }: Spending) {
  const credits = {
    chargedCredits: toCredits(charged),
    savedCredits: toCredits(saved),
    unknownCredits: toCredits(unknown),
  }
  return { requests, paidCalls, ...credits }
}

function iso(at: number): string {
  return new Date(at).toISOString()
}
