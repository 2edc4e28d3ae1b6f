import type { FastifyInstance } from 'fastify'
import type { BalanceState, CreditStateName } from '../../contracts/account.js'
import type { LedgerState } from '../../contracts/ledger.js'
import type { BreakerState } from '../../contracts/overview.js'

export interface Health {
  /** The upstream in use: Segmind, or the sandbox that replaces it. */
  upstream: 'segmind' | 'sandbox'
  /** It leaves the load balancer first, and drains when it stops listening. */
  lifecycle: { readonly isLeaving: boolean; readonly isDraining: boolean }
  isStoreUp(): boolean
  ledger(): LedgerState
  isTeamsFileOk(): boolean
  breaker(): BreakerState
  /** State of the credits and certainty of the balance. The balance itself is not public. */
  credits(): { state: CreditStateName | 'unknown'; balance: BalanceState }
}

const ALIVE = JSON.stringify({ status: 'ok' })

/**
 * Adds `/healthz` (the process is alive) and `/readyz` (it accepts requests; 503 from the signal to
 * stop on). `/readyz` reports a store that is down, a ledger that is not whole, a refused teams file
 * or an open breaker. The gateway stays ready, because it still serves cached results.
 */
export function addHealthRoutes(app: FastifyInstance, health: Health): void {
  app.route({
    method: ['GET', 'HEAD'],
    url: '/healthz',
    handler: async (_request, reply) =>
      reply.header('cache-control', 'no-store').type('application/json; charset=utf-8').send(ALIVE),
  })
  app.route({
    method: ['GET', 'HEAD'],
    url: '/readyz',
    handler: async (_request, reply) => {
      const { isLeaving, isDraining } = health.lifecycle
      const { state, balance } = health.credits()
      return reply
        .code(isLeaving ? 503 : 200)
        .header('cache-control', 'no-store')
        .send({
          status: isDraining ? 'draining' : isLeaving ? 'shutting_down' : 'ready',
          checks: {
            upstream: health.upstream,
            store: health.isStoreUp() ? 'up' : 'down',
            ledger: health.ledger(),
            teamsFile: health.isTeamsFileOk() ? 'ok' : 'refused',
            breaker: health.breaker(),
            credits: state,
            balance,
          },
        })
    },
  })
}
