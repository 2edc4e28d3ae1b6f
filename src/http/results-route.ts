import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.js'
import { type Output, parseOutput } from '../segment/output.js'
import { parseBoolean } from '../segment/params.js'
import { lookUpResult, unknownResult } from '../segment/result-lookup.js'
import { type Shaped, shape } from '../segment/shape.js'
import type { Result } from '../segment/types.js'
import { isNotModified, sendAnswer, sendNotModified, sendRunning } from './answer.js'
import { laneOf } from './answer-question.js'
import { callerOf } from './facts.js'
import type { Lane, LaneParts } from './lane.js'

interface ResultRequest {
  Params: { id: string }
  Querystring: Record<string, unknown>
}

const ID = /^[0-9a-f]{64}$/
/** What is there may be answered, nothing may be bought. */
const ONLY_IF_CACHED = { noCache: false, noStore: false, onlyIfCached: true }

/** `GET /results/{id}`: the picture (or 304), 202 while it is on its way, the error its purchase ended with, or 404. Spends nothing. */
export function addResultsRoute(app: FastifyInstance, parts: Pick<LaneParts, 'laneOf'>): void {
  app.route<ResultRequest>({
    method: ['GET', 'HEAD'],
    url: '/results/:id',
    handler: async (request, reply) => {
      const { facts, params, query } = request
      const base64 = parseBoolean('base64', query.base64) ?? false
      const output = parseOutput(query.output)
      const lane = laneOf(request, parts)
      const state = await stateOf(request, lane)
      facts.resultId = params.id
      if (state.how === 'running') return sendRunning(reply, params.id)
      facts.cache = state.how
      const shaped = await shapeFound({ key: params.id, result: state.result }, output, request, lane)
      return sendFound(request, reply, { how: state.how, shaped, base64, lane })
    },
  })
}

async function sendFound(
  request: FastifyRequest,
  reply: FastifyReply,
  { how, shaped, base64, lane }: { how: 'hit' | 'stale'; shaped: Shaped; base64: boolean; lane: Lane },
): Promise<FastifyReply> {
  const { key, result, mask = result.mask } = shaped
  const answer = {
    ...{ how, key, result, charged: 0, stored: true, isReplay: false },
    timing: { cacheMs: performance.now() - request.facts.startedAt, queueMs: 0, upstreamMs: 0 },
  }
  const rendering = {
    ...{ base64, mask, ignoredFields: [], directives: ONLY_IF_CACHED, uploadMs: 0 },
    imageDigest: result.image,
    remaining: await lane.remaining(callerOf(request).team),
    now: lane.pipeline.now(),
    freshSeconds: lane.pipeline.freshSeconds,
  }
  if (isNotModified(request.headers['if-none-match'], answer, rendering))
    return sendNotModified(reply, answer, rendering)
  return sendAnswer(reply, answer, rendering)
}

/** Other forms are made only of what is known to be a mask. Throws `invalid_parameter`. */
async function shapeFound(
  found: { key: string; result: Result },
  output: Output | undefined,
  request: FastifyRequest,
  { pipeline }: Lane,
): Promise<Shaped> {
  if (output === undefined) return found
  const { image, overlayMask, scope = '' } = found.result
  if (image === undefined || overlayMask !== (output === 'overlay'))
    throw new GatewayError('invalid_parameter', `output: this result is not one that ${output} can be made of.`)
  const wish = { output, image: { digest: image }, scope, team: callerOf(request).team.id, isKept: true }
  return shape(found, wish, pipeline)
}

async function stateOf(request: FastifyRequest<ResultRequest>, { pipeline }: Lane) {
  const { id } = request.params
  if (!ID.test(id)) throw unknownResult()
  return lookUpResult(id, callerOf(request), pipeline)
}
