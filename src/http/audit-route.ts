import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../errors.js'
import { fromStore } from './from-store.js'
import { readFields } from './statement-query.js'

/** What was done to the gateway, at its place. `at` in milliseconds since 1970. */
export interface AuditedStep {
  seq: number
  id: string
  at: number
  by: 'operator' | 'cli'
  name?: string
  address?: string
  requestId?: string
  action: string
  subject: string
  details?: Record<string, unknown>
}

/** Rejects with `StoreError`. */
export type ReadAudit = (page: { before?: number | undefined; limit: number }) => Promise<AuditedStep[]>

const DEFAULT_LIMIT = 50
const MAX_LIMIT = 200

/** `GET /admin/audit?before=&limit=`: who did what and when, the newest first. `next` leads to what was before. */
export function addAuditRoute(admin: FastifyInstance, read: ReadAudit): void {
  admin.get('/audit', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    const fields = readFields(request.query, ['before', 'limit'])
    const limit = wholeNumber(fields, 'limit', MAX_LIMIT) ?? DEFAULT_LIMIT
    const steps = await fromStore(
      'The audit log cannot be read',
      read({ before: wholeNumber(fields, 'before', Number.MAX_SAFE_INTEGER), limit }),
    )
    const last = steps.at(-1)?.seq ?? 1
    return {
      entries: steps.map(({ at, ...step }) => ({ ...step, at: new Date(at).toISOString() })),
      ...(last > 1 && { next: last }),
    }
  })
}

function wholeNumber(fields: Record<string, unknown>, name: string, max: number): number | undefined {
  const text = fields[name]
  if (text === undefined) return undefined
  const value = typeof text === 'string' && /^\d{1,16}$/.test(text) ? Number(text) : 0
  if (value >= 1 && value <= max) return value
  throw new GatewayError('invalid_parameter', `${name} must be given once, as a whole number from 1 to ${max}.`)
}
