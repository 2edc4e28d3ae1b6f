import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../errors.js'
import { StoreError } from '../storage.js'

/** What is kept of requests for a day. */
export interface Explanations {
  /** What became of the requests with that id, the newest first; none where nothing is kept. Rejects with `StoreError`. */
  find(requestId: string): Promise<object[]>
}

/** What is safe in a header, a log line and the name of a key. */
const REQUEST_ID = /^[\w.:/+=@~-]{1,128}$/

export function isRequestId(text: string): boolean {
  return REQUEST_ID.test(text)
}

const STORE_RETRY_AFTER_SECONDS = 5

/** `GET /admin/requests/{requestId}`: why a request was answered as it was. No picture and no key is in it. */
export function addExplainRoute(admin: FastifyInstance, { find }: Explanations): void {
  admin.get<{ Params: { requestId: string } }>('/requests/:requestId', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    const { requestId } = request.params
    const explanations = isRequestId(requestId) ? await find(requestId).catch(translated) : []
    if (explanations.length > 0) return { requestId, explanations }
    throw new GatewayError('not_found', 'Nothing is kept of a request with this id.')
  })
}

function translated(cause: unknown): never {
  if (!(cause instanceof StoreError)) throw cause
  throw new GatewayError('store_unavailable', 'Requests cannot be looked up: the store does not answer.', {
    retryAfterSeconds: STORE_RETRY_AFTER_SECONDS,
    cause,
  })
}
