import type { FastifyInstance } from 'fastify'

export interface Health {
  /** What is called: Segmind, or the sandbox that stands in for it. */
  upstream: 'segmind' | 'sandbox'
  isDraining(): boolean
  isStoreUp(): boolean
  isTeamsFileOk(): boolean
  /** `closed`: calls go to Segmind; `open`: they are not tried; `probing`: it is being asked whether it is back. */
  breaker(): 'closed' | 'open' | 'probing'
  /** The state of the credits, and how sure their balance is; the amount is nobody's business here. */
  credits(): { state: 'normal' | 'reserve' | 'empty' | 'unknown'; balance: 'unknown' | 'fresh' | 'stale' }
}

/**
 * `/healthz`: the process lives. `/readyz`: it takes requests (503 while draining). A store that is down, a refused teams
 * file or an open breaker is told in the detail but does not make the gateway unready: it goes on with what it has, hits above all.
 */
export function addHealthRoutes(app: FastifyInstance, health: Health): void {
  app.route({
    method: ['GET', 'HEAD'],
    url: '/healthz',
    handler: async (_request, reply) => reply.header('cache-control', 'no-store').send({ status: 'ok' }),
  })
  app.route({
    method: ['GET', 'HEAD'],
    url: '/readyz',
    handler: async (_request, reply) => {
      const isDraining = health.isDraining()
      return reply
        .code(isDraining ? 503 : 200)
        .header('cache-control', 'no-store')
        .send({
          status: isDraining ? 'draining' : 'ready',
          checks: {
            upstream: health.upstream,
            store: health.isStoreUp() ? 'up' : 'down',
            teamsFile: health.isTeamsFileOk() ? 'ok' : 'refused',
            breaker: health.breaker(),
            credits: health.credits().state,
            balance: health.credits().balance,
          },
        })
    },
  })
}
