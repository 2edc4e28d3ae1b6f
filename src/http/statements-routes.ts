import type { FastifyInstance, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.js'
import type { Audit } from './auditing.js'
import { type ClosingStep, type Statement, toOperatorStatement } from './statement-json.js'
import { fromBooks, readFields, readMonth, readTeam } from './statement-query.js'

/** Each rejects with `StoreError` when the store does not answer. */
export interface StatementsParts {
  statement(month: string, team?: string): Promise<Statement>
  /** The month it is now where budgets are counted. */
  currentMonth(): string
  /** Freezes a month. Throws `invalid_request` for one that cannot be closed yet. */
  close(month: string): Promise<Statement>
  /** Answers what a closed month was. Throws `not_found` for one that is not closed. */
  reopen(month: string): Promise<Statement>
  /** When that month was closed and reopened. */
  closings(month: string): Promise<ClosingStep[]>
  /** Lines for a spreadsheet. */
  csv(statement: Statement): string[]
}

interface OfMonth {
  Params: { month: string }
}

/** `GET /admin/usage`, `PUT` and `DELETE /admin/usage/{month}/closing`: the statements of all teams, for operators and finance. */
export async function addStatementsRoutes(admin: FastifyInstance, parts: StatementsParts, audit: Audit): Promise<void> {
  admin.get('/usage', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    const { month = parts.currentMonth(), team, format } = readFields(request.query, ['month', 'team', 'format'])
    const wantsCsv = isCsvWanted(format, request)
    const statement = await fromBooks(parts.statement(readMonth(month), readTeam(team)))
    if (!wantsCsv) return told(statement, parts)
    return reply.type('text/csv; charset=utf-8').send(`${parts.csv(statement).join('\n')}\n`)
  })
  // A scope of its own: a body, which means nothing here, is not looked at.
  await admin.register(async closing => {
    closing.addContentTypeParser('*', (_request, body, done) => {
      body.resume()
      done(null)
    })
    closing.put<OfMonth>('/usage/:month/closing', async (request, reply) => {
      reply.header('cache-control', 'no-store')
      const closed = await fromBooks(parts.close(readMonth(request.params.month)))
      await audit(request, { action: 'month.closed', subject: closed.month })
      return told(closed, parts)
    })
    closing.delete<OfMonth>('/usage/:month/closing', async (request, reply) => {
      reply.header('cache-control', 'no-store')
      const reopened = await fromBooks(parts.reopen(readMonth(request.params.month)))
      await audit(request, { action: 'month.reopened', subject: reopened.month })
      return told(reopened, parts)
    })
  })
}

async function told(statement: Statement, { closings }: StatementsParts) {
  return toOperatorStatement(statement, await fromBooks(closings(statement.month)))
}

/** `format` decides, else `Accept` where it begins with CSV. */
function isCsvWanted(format: unknown, { headers }: FastifyRequest): boolean {
  if (format === undefined) return /^\s*text\/csv\b/i.test(headers.accept ?? '')
  if (format === 'csv' || format === 'json') return format === 'csv'
  throw new GatewayError('invalid_parameter', 'format must be given once, as json or csv.')
}
