import type { FastifyRequest } from 'fastify'

/** Takes down who did what. */
export interface AuditPort {
  add(done: {
    by: 'operator'
    name?: string
    address: string
    requestId: string
    action: string
    subject: string
    details?: Record<string, unknown>
  }): Promise<unknown>
}

/** Takes down what an operator's request has done; resolves once it is written or waits to be. */
export type Audit = (
  request: FastifyRequest,
  done: { action: string; subject: string; details?: Record<string, unknown> },
) => Promise<void>

const NAME = /^[\x20-\x7e]{1,64}$/

/** The operators share one key: `X-Operator` may say which of them it is, and is taken at its word. */
export function auditing(audit: AuditPort): Audit {
  return async (request, done) => {
    const name = request.headers['x-operator']
    const said = typeof name === 'string' && NAME.test(name) ? { name } : {}
    await audit.add({ by: 'operator', ...said, address: request.facts.address, requestId: request.id, ...done })
  }
}
