import type { FastifyInstance } from 'fastify'
import type { AccountStatus, ImplausibleFigure } from '../../contracts/account.js'
import { toCredits } from '../../contracts/nanocredits.js'
import type { HistoryStatus } from '../../contracts/request-history.js'

const EVENTS_SHOWN = 50
const FOREIGN_SHOWN = 20
const HOUR_SECONDS = 3_600

/** Adds `GET /admin/credits`: the shared account, with amounts in credits and times in ISO 8601. */
export function addCreditsRoute(admin: FastifyInstance, credits: () => AccountStatus): void {
  admin.get('/credits', async () => accountToJson(credits()))
}

export function accountToJson({
  balance,
  state,
  reserve,
  burn,
  runway,
  agreed,
  price,
  events,
  history,
}: AccountStatus) {
  const { remaining, at } = balance
  return {
    balance: {
      state: balance.state,
      ...(remaining !== undefined && at !== undefined && { credits: toCredits(remaining), at: toTime(at) }),
    },
    ...(state && { creditState: { ...state, since: toTime(state.since) } }),
    reserveCredits: toCredits(reserve),
    burn: Object.entries(burn).map(([window, perSecond = 0]) => ({
      window,
      creditsPerHour: toCredits(Math.round(perSecond * HOUR_SECONDS)),
    })),
    ...(runway && { runway: { ...runway, seconds: Math.round(runway.seconds), emptyAt: toTime(runway.emptyAt) } }),
    ...(agreed && {
      reconciled: {
        at: toTime(agreed.at),
        driftCredits: toCredits(agreed.drift),
        topUpCredits: toCredits(agreed.topUps),
      },
    }),
    price: {
      estimateCredits: toCredits(price.estimate),
      ...(price.change && {
        changed: { fromCredits: toCredits(price.change.from), toCredits: toCredits(price.change.to) },
      }),
    },
    events: events
      .slice(-EVENTS_SHOWN)
      .reverse()
      .map(({ id, at, kind, amount, implausible }) => ({
        id,
        at: toTime(at),
        kind,
        credits: toCredits(amount),
        ...(implausible && { implausible: figureToJson(implausible) }),
      })),
    history: historyToJson(history),
  }
}

function historyToJson({ state, since, lastError, foreign }: HistoryStatus) {
  return {
    state,
    ...(since !== undefined && { since: toTime(since) }),
    ...(lastError && { lastError: { at: toTime(lastError.at), text: lastError.text } }),
    foreign: foreign
      .slice(0, FOREIGN_SHOWN)
      .map(({ at, cost, ...spend }) => ({ at: toTime(at), ...spend, credits: toCredits(cost) })),
  }
}

function figureToJson({ figure, claimed, expected }: ImplausibleFigure) {
  return { figure, claimedCredits: toCredits(claimed), expectedCredits: toCredits(expected) }
}

/** The latest time a `Date` can hold: a runway of centuries would exceed it. */
const LATEST_MS = 8.64e15

function toTime(at: number): string {
  return new Date(Math.min(at, LATEST_MS)).toISOString()
}
