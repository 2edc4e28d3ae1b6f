import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../../contracts/errors.js'
import { isRequestId } from '../server/request-ids.js'
import { orStoreUnavailable } from '../server/store-unavailable.js'

/** Explanations of requests, kept for a day. */
export interface Explanations {
  /**
   * Finds the explanations of all requests with that id, newest first. Rejects with `StoreError`.
   */
  find(requestId: string): Promise<object[]>
}

/**
 * Adds `GET /admin/requests/{requestId}`: the reasons for a response. It contains no image and no
 * key.
 */
export function addExplainRoute(admin: FastifyInstance, { find }: Explanations): void {
  admin.get<{ Params: { requestId: string } }>('/requests/:requestId', async request => {
    const { requestId } = request.params
    const explanations = isRequestId(requestId)
      ? await orStoreUnavailable(find(requestId), 'Requests cannot be looked up')
      : []
    if (explanations.length > 0) return { requestId, explanations }
    throw new GatewayError('not_found', 'No request with this id is recorded.')
  })
}
