import type { FastifyInstance } from 'fastify'
import { type Nanocredits, toCredits } from '../nanocredits.js'
import type { Team } from '../segment/types.js'
import { callerOf } from './facts.js'
import { type Statement, toTeamStatement } from './statement-json.js'
import { fromBooks, readFields, readMonth } from './statement-query.js'

export interface UsageParts {
  /** A month's statement, of all teams or one. Rejects with `StoreError`. */
  statement(month: string, team?: string): Promise<Statement>
  /** The month it is now where budgets are counted, and what the team may still spend. */
  currentMonth(): string
  remaining(team: Team): Promise<Nanocredits | undefined>
}

/** `GET /usage?month=2026-11`: the asking team's own statement, by day. Amounts are credits. */
export function addUsageRoute(app: FastifyInstance, parts: UsageParts): void {
  app.get('/usage', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    const { team } = callerOf(request)
    const { month = parts.currentMonth() } = readFields(request.query, ['month'])
    const statement = await fromBooks(parts.statement(readMonth(month), team.id))
    const budget = budgetOf(team)
    const remaining = await parts.remaining(team)
    return {
      team: team.id,
      month,
      ...(budget && { budget }),
      ...(remaining !== undefined && { remainingCredits: toCredits(remaining) }),
      ...toTeamStatement(statement),
    }
  })
}

function budgetOf({ budget: { daily, monthly } = {} }: Team) {
  if (daily === undefined && monthly === undefined) return undefined
  return {
    ...(daily !== undefined && { daily: toCredits(daily) }),
    ...(monthly !== undefined && { monthly: toCredits(monthly) }),
  }
}
