import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../../contracts/errors.js'
import type { CacheTier } from '../../contracts/overview.js'
import { matching, parseQuery } from '../server/fields.js'
import { orStoreUnavailable } from '../server/store-unavailable.js'
import type { RecordAudit } from './audit-recorder.js'

/** Cached results as operators manage them. Every method but `tiers` rejects with `StoreError`. */
export interface CacheAdmin {
  /** Sizes of the tiers. The store's tier is absent where the store cannot tell its size. */
  tiers(): Promise<CacheTier[]>
  /** Deletes a result and everything derived from it. Returns false for an unknown result. */
  purge(resultId: string): Promise<boolean>
  /** Deletes all results and returns their number. */
  purgeAll(): Promise<number>
}

export interface CacheRouteParts {
  cache: CacheAdmin
  audit: RecordAudit
}

interface ResultParams {
  Params: { id: string }
}

const RESULT_ID = /^[0-9a-f]{64}$/
const QUERY = { all: matching('true', /^true$/) }

/**
 * Adds `/admin/cache`: sizes and purges. A purge takes effect here at once, and in other processes
 * within two seconds.
 */
export function addCacheRoutes(admin: FastifyInstance, { cache, audit }: CacheRouteParts): void {
  admin.get('/cache', async () => ({ tiers: await cache.tiers() }))
  admin.delete<ResultParams>('/cache/results/:id', async request => {
    const { id } = request.params
    const isPurged = RESULT_ID.test(id) && (await orStoreUnavailable(cache.purge(id), 'The result cannot be purged'))
    if (!isPurged) throw new GatewayError('unknown_result', 'There is no result with this id.')
    await audit(request, { action: 'result.purged', subject: id })
    return { purged: 1 }
  })
  admin.delete('/cache/results', async request => {
    if (!parseQuery(request.query, QUERY).all)
      throw new GatewayError('invalid_parameter', 'Add all=true to purge every result.')
    const purged = await orStoreUnavailable(cache.purgeAll(), 'The results cannot be purged')
    await audit(request, { action: 'results.purged', subject: 'all', details: { purged } })
    return { purged }
  })
}
