import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Nanocredits } from '../nanocredits.js'
import { parseBoolean } from '../segment/params.js'
import type { PipelineParts } from '../segment/ports.js'
import { lookUpResult, unknownResult } from '../segment/result-lookup.js'
import type { Team } from '../segment/types.js'
import { isNotModified, sendAnswer, sendNotModified, sendRunning } from './answer.js'
import { callerOf } from './facts.js'

export interface ResultsRouteParts {
  pipeline: PipelineParts
  /** What the team may still spend; undefined when that is not known. */
  remaining(team: Team): Promise<Nanocredits | undefined>
}

interface ResultRequest {
  Params: { id: string }
  Querystring: Record<string, unknown>
}

const ID = /^[0-9a-f]{64}$/
/** What is there may be answered, nothing may be bought. */
const ONLY_IF_CACHED = { noCache: false, noStore: false, onlyIfCached: true }

/** `GET /results/{id}`: the picture (or 304), 202 while it is on its way, the error its purchase ended with, or 404. Spends nothing. */
export function addResultsRoute(app: FastifyInstance, { pipeline, remaining }: ResultsRouteParts): void {
  app.route<ResultRequest>({
    method: ['GET', 'HEAD'],
    url: '/results/:id',
    handler: async (request, reply) => {
      const { facts, params, query } = request
      const { team } = callerOf(request)
      const base64 = parseBoolean('base64', query.base64) ?? false
      const state = await stateOf(request, pipeline)
      facts.resultId = params.id
      if (state.how === 'running') return sendRunning(reply, params.id)
      facts.cache = state.how
      const answer = {
        ...state,
        key: params.id,
        charged: 0,
        stored: true,
        isReplay: false,
        timing: { cacheMs: performance.now() - facts.startedAt, queueMs: 0, upstreamMs: 0 },
      }
      const rendering = {
        base64,
        ignoredFields: [],
        directives: ONLY_IF_CACHED,
        uploadMs: 0,
        imageDigest: state.result.image,
        remaining: await remaining(team),
        now: pipeline.now(),
        freshSeconds: pipeline.freshSeconds,
      }
      if (isNotModified(request.headers['if-none-match'], answer, rendering))
        return sendNotModified(reply, answer, rendering)
      return sendAnswer(reply, answer, rendering)
    },
  })
}

async function stateOf(request: FastifyRequest<ResultRequest>, pipeline: PipelineParts) {
  const { id } = request.params
  if (!ID.test(id)) throw unknownResult()
  return lookUpResult(id, callerOf(request), pipeline)
}
