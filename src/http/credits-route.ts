import type { FastifyInstance } from 'fastify'
import { type Nanocredits, toCredits } from '../nanocredits.js'

/** What is known about the shared account; each absent while it is not known. Times are milliseconds since 1970, amounts integers of 10⁻⁹ credit. */
export interface CreditFacts {
  balance: { state: 'unknown' | 'fresh' | 'stale'; remaining?: Nanocredits; at?: number }
  state?: { name: 'normal' | 'reserve' | 'empty'; since: number; before?: string }
  reserve: Nanocredits
  /** Nanocredits a second, by window. */
  burn: Partial<Record<string, number>>
  runway?: { seconds: number; emptyAt: number; window: string; timeOfDay: string }
  agreed?: { at: number; drift: Nanocredits; topUps: Nanocredits }
  price: { estimate: Nanocredits; change?: { from: Nanocredits; to: Nanocredits } }
  /** The newest last. */
  events: readonly { id: string; at: number; kind: string; amount: Nanocredits }[]
}

const EVENTS_TOLD = 50
const HOUR_SECONDS = 3_600

/** `GET /admin/credits`: the shared account as the gateway sees it now. Amounts are credits, times ISO 8601. */
export function addCreditsRoute(admin: FastifyInstance, credits: () => CreditFacts): void {
  admin.get('/credits', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
    return toldOf(credits())
  })
}

/** As JSON has it: amounts in credits, times as text. */
export function toldOf({ balance, state, reserve, burn, runway, agreed, price, events }: CreditFacts) {
  const { remaining, at } = balance
  return {
    balance: {
      state: balance.state,
      ...(remaining !== undefined && at !== undefined && { credits: toCredits(remaining), at: iso(at) }),
    },
    ...(state && { creditState: { ...state, since: iso(state.since) } }),
    reserveCredits: toCredits(reserve),
    burn: Object.entries(burn).map(([window, perSecond = 0]) => ({
      window,
      creditsPerHour: toCredits(Math.round(perSecond * HOUR_SECONDS)),
    })),
    ...(runway && { runway: { ...runway, seconds: Math.round(runway.seconds), emptyAt: iso(runway.emptyAt) } }),
    ...(agreed && {
      reconciled: { at: iso(agreed.at), driftCredits: toCredits(agreed.drift), topUpCredits: toCredits(agreed.topUps) },
    }),
    price: {
      estimateCredits: toCredits(price.estimate),
      ...(price.change && {
        changed: { fromCredits: toCredits(price.change.from), toCredits: toCredits(price.change.to) },
      }),
    },
    events: events
      .slice(-EVENTS_TOLD)
      .reverse()
      .map(({ id, at, kind, amount }) => ({
        ...{ id, at: iso(at), kind },
        credits: toCredits(amount),
      })),
  }
}

/** Far beyond what a date can be written for, an hour more or less says nothing. */
const LATEST_MS = 8.64e15

function iso(at: number): string {
  return new Date(Math.min(at, LATEST_MS)).toISOString()
}
