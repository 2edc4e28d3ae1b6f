import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../errors.js'
import { StoreError } from '../storage.js'

/** What is kept of requests for a day. */
export interface Explanations {
  /** What became of the requests with that id, the newest first; none where nothing is kept. Rejects with `StoreError`. */
  find(requestId: string): Promise<object[]>
}

const STORE_RETRY_AFTER_SECONDS = 5

/** `GET /admin/requests/{requestId}`: why a request was answered as it was. No picture and no key is in it. */
export function addExplainRoute(admin: FastifyInstance, { find }: Explanations): void {
  admin.get<{ Params: { requestId: string } }>('/requests/:requestId', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    const { requestId } = request.params
    const explanations = await find(requestId).catch((error: unknown) => {
      throw error instanceof StoreError ? notNow(error) : error
    })
    if (explanations.length > 0) return { requestId, explanations }
    throw new GatewayError('not_found', 'Nothing is kept of a request with this id.')
  })
}

function notNow(cause: StoreError): GatewayError {
  return new GatewayError('store_unavailable', 'Requests cannot be looked up: the store does not answer.', {
    retryAfterSeconds: STORE_RETRY_AFTER_SECONDS,
    cause,
  })
}
