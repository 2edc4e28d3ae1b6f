import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../errors.js'
import type { Results } from '../segment/ports.js'
import { fromStore } from './from-store.js'
import type { OutputAddresses } from './signed-output.js'

export interface OutputsRouteParts {
  outputs: OutputAddresses
  resultsOf(lane: { isTest: boolean }): Results
  now(): number
}

interface OutputRequest {
  Params: { name: string }
  Querystring: Record<string, unknown>
}

/** `GET /outputs/{name}`: a result by a signed address, for whoever was given it; no key. */
export function addOutputsRoute(app: FastifyInstance, { outputs, resultsOf, now }: OutputsRouteParts): void {
  app.route<OutputRequest>({
    method: ['GET', 'HEAD'],
    url: '/outputs/:name',
    handler: async (request, reply) => {
      const { name } = request.params
      const { expires, signature } = request.query
      const address = { name, expires: String(expires), signature: String(signature) }
      const output = await fromStore('The address cannot be checked', outputs.read(address))
      // One answer for everything that opens nothing: whoever guesses learns nothing.
      const found = output && (await resultsOf(output).find(output.resultId, () => true))
      if (!output || !found?.result)
        throw new GatewayError('unknown_result', 'There is nothing at this address, or it has expired.')
      const { body, contentType, etag } = found.result
      request.facts.resultId = output.resultId
      const seconds = Math.max(0, Math.floor((output.expiresAt - now()) / 1000))
      reply.headers({
        etag: `"${etag}"`,
        'cache-control': `private, no-transform, max-age=${seconds}`,
        'x-content-type-options': 'nosniff',
        'content-disposition': 'inline',
      })
      if (request.headers['if-none-match'] === `"${etag}"`) return reply.code(304).send()
      return reply.type(contentType).send(body)
    },
  })
}
