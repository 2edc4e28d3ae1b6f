import type { FastifyInstance, FastifyRequest } from 'fastify'
import { defined } from '../../contracts/defined.js'
import { GatewayError } from '../../contracts/errors.js'
import type { CacheKey, Result } from '../../contracts/types.js'
import { type OutputForm, parseOutputForm } from '../../input/output-form.js'
import { parseBoolean } from '../../input/params.js'
import { lookUpResult, purchaseCostFor, unknownResult } from '../../segment/result-lookup.js'
import { frameOf, type Shaped, shape } from '../../segment/shape.js'
import { callerOf } from '../server/request-facts.js'
import { sendAnswer, sendRunning } from './result-response.js'
import { type Mode, modeOf, type TeamRouteParts } from './route-parts.js'

interface ResultRequest {
  Params: { id: string }
  Querystring: Record<string, unknown>
}

const RESULT_ID = /^[0-9a-f]{64}$/
const ONLY_IF_CACHED = { noCache: false, noStore: false, onlyIfCached: true }

/**
 * Adds `GET /results/{id}`: the result (or 304), 202 while it is in flight, the error of its
 * purchase, or 404. Spends nothing.
 */
export function addResultsRoute(app: FastifyInstance, parts: Pick<TeamRouteParts, 'modes' | 'memory'>): void {
  app.route<ResultRequest>({
    method: ['GET', 'HEAD'],
    url: '/results/:id',
    handler: async (request, reply) => {
      const { facts, params, query } = request
      const base64 = parseBoolean('base64', query.base64) ?? false
      const form = parseOutputForm(query)
      const mode = modeOf(request, parts)
      const caller = callerOf(request)
      if (!RESULT_ID.test(params.id)) throw unknownResult()
      const state = await lookUpResult(params.id, caller, mode.pipeline)
      facts.resultId = params.id
      if (state.how === 'running') return sendRunning(reply, params.id, state.queue)
      const { how } = state
      facts.cache = how
      const {
        key,
        result,
        frame,
        mask = result.mask,
      } = await shapeFound(params.id, state.result, { form, request, mode })
      request.lifetime.onEnd(parts.memory.holdBuffer(caller.team, result.body, { isForced: false }))
      const timing = { cacheMs: performance.now() - facts.startedAt, queueMs: 0, upstreamMs: 0 }
      const answer = { how, key, result, charged: 0, stored: true, isReplay: false, timing }
      return sendAnswer(reply, answer, {
        base64,
        ifNoneMatch: request.headers['if-none-match'],
        frame,
        mask,
        ignoredFields: [],
        directives: ONLY_IF_CACHED,
        uploadMs: 0,
        imageDigest: result.image,
        purchaseCost: purchaseCostFor(caller.team, state.result),
        remaining: await mode.allowance.remaining(caller.team),
        now: mode.pipeline.now(),
        freshSeconds: mode.pipeline.freshSeconds,
      })
    },
  })
}

/**
 * Converts a stored result. Other forms are made only of a known mask. Throws `invalid_parameter`.
 */
async function shapeFound(
  key: CacheKey,
  result: Result,
  { form, request, mode }: { form: OutputForm; request: FastifyRequest; mode: Mode },
): Promise<Shaped> {
  const { output, simplify } = form
  if (output === undefined) {
    const frame = await frameOf(result, undefined, mode.pipeline)
    return { key, result, ...defined({ frame }) }
  }
  const { image, overlayMask, scope = '' } = result
  if (image === undefined || overlayMask !== (output === 'overlay'))
    throw new GatewayError('invalid_parameter', `output: this result cannot be converted to ${output}.`)
  const { id: team } = callerOf(request).team
  const wanted = { output, ...defined({ simplify }), image: { digest: image }, scope, team, isKept: true }
  return shape({ key, result }, wanted, mode.pipeline)
}
