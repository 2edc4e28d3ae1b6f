import type { FastifyInstance } from 'fastify'
import type { NumberedAuditEntry } from '../../contracts/records.js'
import { parseQuery, wholeNumberUpTo } from '../server/fields.js'
import { orStoreUnavailable } from '../server/store-unavailable.js'

/** Rejects with `StoreError`. */
export type ReadAudit = (page: { before?: number | undefined; limit: number }) => Promise<NumberedAuditEntry[]>

const DEFAULT_LIMIT = 50
const QUERY = { before: wholeNumberUpTo(Number.MAX_SAFE_INTEGER), limit: wholeNumberUpTo(200) }

/**
 * Adds `GET /admin/audit?before=&limit=`: the audit log, newest entry first. `next` is the `before`
 * of the following page.
 */
export function addAuditRoute(admin: FastifyInstance, read: ReadAudit): void {
  admin.get('/audit', async request => {
    const { before, limit = DEFAULT_LIMIT } = parseQuery(request.query, QUERY)
    const entries = await orStoreUnavailable(read({ before, limit }), 'The audit log cannot be read')
    const last = entries.at(-1)?.seq ?? 1
    return {
      entries: entries.map(({ at, ...entry }) => ({ ...entry, at: new Date(at).toISOString() })),
      ...(last > 1 && { next: last }),
    }
  })
}
