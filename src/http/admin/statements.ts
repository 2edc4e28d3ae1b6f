import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { nextSlice } from '../../contracts/event-loop.js'
import type { ClosingStep, Statement } from '../../contracts/statements.js'
import { toOperatorStatement } from '../segment/statement-json.js'
import { matching, month, parseQuery, teamId } from '../server/fields.js'
import { orStoreUnavailable } from '../server/store-unavailable.js'
import type { RecordAudit } from './audit-recorder.js'

/**
 * Every method that returns a promise rejects with `StoreError` while the store does not respond.
 */
export interface StatementsParts {
  statement(month: string, team?: string): Promise<Statement>
  /** The current month in `BUDGET_TIMEZONE`. */
  currentMonth(): string
  /** Freezes a month. Throws `invalid_request` for one that cannot be closed yet. */
  close(month: string): Promise<Statement>
  /**
   * Opens a closed month and returns its frozen statement. Throws `not_found` for an open month.
   */
  reopen(month: string): Promise<Statement>
  /** Lists when the month was closed and reopened. */
  closings(month: string): Promise<ClosingStep[]>
  /** Returns what the audit log keeps of a closed month. Never rejects. */
  seal(month: string): Promise<{ sha256?: string }>
  /** Formats a statement as lines of CSV. */
  csv(statement: Statement): Iterable<string>
}

interface MonthParams {
  Params: { month: string }
}

const SLICE_CHARACTERS = 64 * 1024
const QUERY = { month, team: teamId, format: matching('json or csv, once', /^(json|csv)$/) }

/**
 * Adds `GET /admin/usage` and `PUT` and `DELETE /admin/usage/{month}/closing`: the statements of
 * all teams.
 */
export async function addStatementsRoutes(
  admin: FastifyInstance,
  parts: StatementsParts,
  audit: RecordAudit,
): Promise<void> {
  admin.get('/usage', async (request, reply) => {
    const { month = parts.currentMonth(), team, format } = parseQuery(request.query, QUERY)
    const statement = await orUnreadable(parts.statement(month, team))
    if ((format ?? preferredFormat(request)) === 'json') return toJson(statement, parts)
    const body = Readable.from(slicesOf(parts.csv(statement)), { objectMode: false })
    return reply.type('text/csv; charset=utf-8').send(body)
  })
  // A separate scope, whose parser drops any body.
  await admin.register(async closing => {
    closing.addContentTypeParser('*', (_request, body, done) => {
      body.resume()
      done(null)
    })
    closing.put<MonthParams>('/usage/:month/closing', async request => {
      const closed = await orUnreadable(parts.close(monthOf(request)))
      await audit(request, { action: 'month.closed', subject: closed.month, details: await parts.seal(closed.month) })
      return toJson(closed, parts)
    })
    closing.delete<MonthParams>('/usage/:month/closing', async request => {
      const reopened = await orUnreadable(parts.reopen(monthOf(request)))
      await audit(request, { action: 'month.reopened', subject: reopened.month })
      return toJson(reopened, parts)
    })
  })
}

/** Joins lines to slices, one in an iteration of the event loop, as fast as the client reads them. */
async function* slicesOf(lines: Iterable<string>): AsyncGenerator<string> {
  let slice = ''
  for (const line of lines) {
    slice += `${line}\n`
    if (slice.length < SLICE_CHARACTERS) continue
    yield slice
    slice = ''
    await nextSlice()
  }
  yield slice
}

function orUnreadable<T>(operation: Promise<T>): Promise<T> {
  return orStoreUnavailable(operation, 'The statement cannot be read')
}

function monthOf({ params }: FastifyRequest<MonthParams>): string {
  return month(params.month, 'month')
}

async function toJson(statement: Statement, { closings }: StatementsParts) {
  return toOperatorStatement(statement, await orUnreadable(closings(statement.month)))
}

/** CSV where `Accept` begins with it. */
function preferredFormat({ headers }: FastifyRequest): 'json' | 'csv' {
  return /^\s*text\/csv\b/i.test(headers.accept ?? '') ? 'csv' : 'json'
}
