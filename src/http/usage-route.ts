import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../errors.js'
import { type Nanocredits, toCredits } from '../nanocredits.js'
import type { Team } from '../segment/types.js'
import { StoreError, type UsageDay } from '../storage.js'
import { callerOf } from './facts.js'

export interface UsageParts {
  usage(month: string, team: string): Promise<UsageDay[]>
  /** The month it is now where budgets are counted, and what the team may still spend. */
  currentMonth(): string
  remaining(team: Team): Promise<Nanocredits | undefined>
}

const MONTH = /^\d{4}-(0[1-9]|1[0-2])$/
const STORE_RETRY_AFTER_SECONDS = 5

/** `GET /usage?month=2026-11`: the asking team's own statement, by day. Amounts are credits. */
export function addUsageRoute(app: FastifyInstance, parts: UsageParts): void {
  app.get('/usage', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    const { team } = callerOf(request)
    const month = readMonth(request.query, parts.currentMonth())
    const days = await parts.usage(month, team.id).catch((error: unknown) => {
      throw error instanceof StoreError ? notNow(error) : error
    })
    const { daily, monthly } = team.budget ?? {}
    const remaining = await parts.remaining(team)
    return {
      team: team.id,
      month,
      ...(daily === undefined && monthly === undefined ? {} : { budget: credits({ daily, monthly }) }),
      ...(remaining === undefined ? {} : { remainingCredits: toCredits(remaining) }),
      totals: toStatement(days.reduce(add, nothing)),
      days: days.map(day => ({ day: day.day, ...toStatement(day) })),
    }
  })
}

type Figures = Omit<UsageDay, 'team' | 'day'>

const nothing: Figures = {
  requests: 0,
  hits: 0,
  coalesced: 0,
  savedByCache: 0,
  savedByCoalescing: 0,
  paidCalls: 0,
  charged: 0,
  unknownCalls: 0,
  unknown: 0,
  reservedCalls: 0,
  reserved: 0,
  shared: 0,
}

function add(sum: Figures, day: Figures): Figures {
  const names = Object.keys(nothing) as (keyof Figures)[]
  return Object.fromEntries(names.map(name => [name, sum[name] + day[name]])) as unknown as Figures
}

function toStatement(figures: Figures) {
  return {
    requests: figures.requests,
    paidCalls: figures.paidCalls,
    hits: figures.hits,
    coalesced: figures.coalesced,
    unknownCalls: figures.unknownCalls,
    pendingCalls: figures.reservedCalls,
    ...credits({
      chargedCredits: figures.charged,
      unknownCredits: figures.unknown,
      pendingCredits: figures.reserved,
      savedByCacheCredits: figures.savedByCache,
      savedByCoalescingCredits: figures.savedByCoalescing,
    }),
  }
}

function credits<Name extends string>(
  amounts: Record<Name, Nanocredits | undefined>,
): Record<Name, number | undefined> {
  const entries = Object.entries<Nanocredits | undefined>(amounts)
  return Object.fromEntries(
    entries.map(([name, amount]) => [name, amount === undefined ? undefined : toCredits(amount)]),
  ) as Record<Name, number | undefined>
}

function readMonth(query: unknown, now: string): string {
  const fields = query as Record<string, unknown>
  const unknown = Object.keys(fields).filter(name => name !== 'month')
  if (unknown.length > 0)
    throw new GatewayError(
      'invalid_request',
      `Unknown parameter: ${unknown.join(', ').slice(0, 60)}. Only month is known.`,
    )
  const { month = now } = fields
  if (typeof month === 'string' && MONTH.test(month)) return month
  throw new GatewayError('invalid_parameter', 'month must be given once, as YYYY-MM, such as 2026-11.')
}

function notNow(cause: StoreError): GatewayError {
  return new GatewayError('store_unavailable', 'The statement cannot be read: the store does not answer.', {
    retryAfterSeconds: STORE_RETRY_AFTER_SECONDS,
    cause,
  })
}
