import type { FastifyRequest } from 'fastify'
import { defined } from '../../contracts/defined.js'
import type { AuditedChange, NewAuditEntry } from '../../contracts/records.js'

export interface AuditPort {
  add(entry: NewAuditEntry): Promise<unknown>
}

/** Records an operator's change. Resolves once the entry is written or queued. */
export type RecordAudit = (request: FastifyRequest, change: AuditedChange) => Promise<void>

const NAME = /^[\x20-\x7e]{1,64}$/

/**
 * Creates the recorder of changes over HTTP. All operators share one key; `X-Operator` names one of
 * them and is not verified.
 */
export function createRequestAudit(audit: AuditPort): RecordAudit {
  return async (request, change) => {
    const header = request.headers['x-operator']
    const name = typeof header === 'string' && NAME.test(header) ? header : undefined
    const { id: requestId, facts } = request
    await audit.add({ by: 'operator', ...defined({ name }), address: facts.address, requestId, ...change })
  }
}
