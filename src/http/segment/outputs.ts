import type { FastifyInstance } from 'fastify'
import type { Clock } from '../../contracts/clock.js'
import { GatewayError } from '../../contracts/errors.js'
import type { Results } from '../../segment/ports.js'
import type { TransferMemory } from '../receive/transfer-memory.js'
import { matchesTag } from '../server/entity-tag.js'
import { orStoreUnavailable } from '../server/store-unavailable.js'
import type { SignedUrls } from './signed-urls.js'

export interface OutputsRouteParts {
  signedUrls: SignedUrls
  memory: TransferMemory
  resultsOf(signed: { isTest: boolean }): Results
  now: Clock
}

interface SignedUrlRequest {
  Params: { name: string }
  Querystring: Record<string, unknown>
}

/** Answers at signed URLs share the memory of one team. */
const HOLDER = { id: '', limits: { weight: 1 } }

/** Adds `GET /outputs/{name}`: a result at its signed URL, without a key. */
export function addOutputsRoute(app: FastifyInstance, { signedUrls, memory, resultsOf, now }: OutputsRouteParts): void {
  app.route<SignedUrlRequest>({
    method: ['GET', 'HEAD'],
    url: '/outputs/:name',
    handler: async (request, reply) => {
      const { expires, signature } = request.query
      const url = { name: request.params.name, expires: String(expires), signature: String(signature) }
      const signed = await orStoreUnavailable(signedUrls.verify(url), 'The URL cannot be verified')
      // The same error for every failure, so that guessing reveals nothing.
      const found = signed && (await resultsOf(signed).find(signed.resultId, () => true))
      if (!signed || !found?.result)
        throw new GatewayError('unknown_result', 'There is no result at this URL, or the URL has expired.')
      const { body, contentType, etag } = found.result
      request.facts.resultId = signed.resultId
      request.lifetime.onEnd(memory.holdBuffer(HOLDER, body, { isForced: false }))
      const seconds = Math.max(0, Math.floor((signed.expiresAt - now()) / 1000))
      reply.headers({
        etag: `"${etag}"`,
        'cache-control': `private, no-transform, max-age=${seconds}`,
        'x-content-type-options': 'nosniff',
        'content-disposition': 'inline',
      })
      if (matchesTag(request.headers['if-none-match'], `"${etag}"`)) return reply.code(304).send()
      return reply.type(contentType).send(body)
    },
  })
}
