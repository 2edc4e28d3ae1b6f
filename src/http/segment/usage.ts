import type { FastifyInstance } from 'fastify'
import { defined } from '../../contracts/defined.js'
import { toCredits } from '../../contracts/nanocredits.js'
import type { Statement } from '../../contracts/statements.js'
import type { Team } from '../../contracts/types.js'
import { month, parseQuery } from '../server/fields.js'
import { callerOf } from '../server/request-facts.js'
import { orStoreUnavailable } from '../server/store-unavailable.js'
import type { TeamAllowance } from './route-parts.js'
import { toTeamStatement } from './statement-json.js'

export interface UsageParts {
  /** Reads the statement of a month, of all teams or one. Rejects with `StoreError`. */
  statement(month: string, team?: string): Promise<Statement>
  /** The current month in `BUDGET_TIMEZONE`. */
  currentMonth(): string
  allowance: TeamAllowance
}

/** Adds `GET /usage?month=2026-11`: the caller's own statement by day, with amounts in credits. */
export function addUsageRoute(app: FastifyInstance, parts: UsageParts): void {
  app.get('/usage', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    const { team } = callerOf(request)
    const { month: requested = parts.currentMonth() } = parseQuery(request.query, { month })
    const statement = await orStoreUnavailable(parts.statement(requested, team.id), 'The statement cannot be read')
    const remaining = await parts.allowance.remaining(team)
    return {
      team: team.id,
      month: requested,
      ...defined({
        budget: team.budget && budgetToJson(team.budget),
        remainingCredits: remaining === undefined ? undefined : toCredits(remaining),
      }),
      ...toTeamStatement(statement),
    }
  })
}

function budgetToJson({ daily, monthly }: NonNullable<Team['budget']>) {
  if (daily === undefined && monthly === undefined) return undefined
  return {
    ...(daily !== undefined && { daily: toCredits(daily) }),
    ...(monthly !== undefined && { monthly: toCredits(monthly) }),
  }
}
