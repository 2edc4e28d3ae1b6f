import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../errors.js'
import type { Audit } from './auditing.js'
import { fromStore } from './from-store.js'
import { readFields } from './statement-query.js'

/** The cached results. Each but `tiers` rejects with `StoreError`. */
export interface CacheAdmin {
  /** What is held; the store's share is absent where it cannot be told. */
  tiers(): Promise<{ tier: 'memory' | 'store'; bytes: number; entries: number }[]>
  /** Takes a result out, with what was made of it; answers whether there was one. */
  purge(resultId: string): Promise<boolean>
  /** Takes all results out; answers how many there were. */
  purgeAll(): Promise<number>
}

export interface CacheRouteParts {
  cache: CacheAdmin
  audit: Audit
}

interface OfResult {
  Params: { id: string }
}

const RESULT_ID = /^[0-9a-f]{64}$/

/** `/admin/cache`: how much is cached, and how it is taken out. What is purged is gone here at once, in other processes within two seconds. */
export function addCacheRoutes(admin: FastifyInstance, { cache, audit }: CacheRouteParts): void {
  admin.get('/cache', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
    return { tiers: await cache.tiers() }
  })
  admin.delete<OfResult>('/cache/results/:id', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    const { id } = request.params
    const isPurged = RESULT_ID.test(id) && (await fromStore('The result cannot be purged', cache.purge(id)))
    if (!isPurged) throw new GatewayError('unknown_result', 'There is no result of this id.')
    await audit(request, { action: 'result.purged', subject: id })
    return { purged: 1 }
  })
  admin.delete('/cache/results', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    const { all } = readFields(request.query, ['all'])
    if (all !== 'true') throw new GatewayError('invalid_parameter', 'all=true is needed to purge every result.')
    const purged = await fromStore('The results cannot be purged', cache.purgeAll())
    await audit(request, { action: 'results.purged', subject: 'all', details: { purged } })
    return { purged }
  })
}
