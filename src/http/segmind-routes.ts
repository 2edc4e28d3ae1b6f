import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { toCredits } from '../nanocredits.js'
import { SEGMIND_FORM } from '../segment/upload.js'
import { answerQuestion, beginStory, laneOf } from './answer-question.js'
import { callerOf } from './facts.js'
import type { LaneParts } from './lane.js'
import { receiveQuestion } from './receive-question.js'
import { answerEarly } from './segment-route.js'
import { addSegmindHeaders, balanceUnknown } from './segmind-dialect.js'
import { addJobRoutes, type JobRouteParts } from './segmind-jobs.js'
import { addUploadRoute } from './upload-route.js'

export interface SegmindRouteParts extends LaneParts, JobRouteParts {
  /** `ALLOW_NO_SELECTION`. */
  allowNoSelection: boolean
}

/**
 * The drop-in doors (SPEC §3): a client of Segmind works by changing its base URL and key. The same pipeline behind Segmind's own addresses, statuses,
 * headers and words.
 */
export function addSegmindRoutes(app: FastifyInstance, parts: SegmindRouteParts): void {
  addSegmindHeaders(app, (request, team) => laneOf(request, parts).askRemaining(team))
  addUploadRoute(app, parts, {
    url: '/v1/sam-v2-image',
    form: SEGMIND_FORM,
    isSegminds: true,
    early: (request, reply) => answerEarly(request, reply, parts),
    handle: (request, reply) => answerNow(request, reply, parts),
  })
  app.get('/v1/get-user-credits', { config: { isSegminds: true } }, async (request, reply) => {
    const remaining = await laneOf(request, parts).askRemaining(callerOf(request).team)
    if (remaining === undefined) throw balanceUnknown()
    return reply.headers({ 'cache-control': 'no-store' }).send({ credits: toCredits(remaining), 'free-credits': 0 })
  })
  addJobRoutes(app, parts)
}

async function answerNow(
  request: FastifyRequest,
  reply: FastifyReply,
  parts: SegmindRouteParts,
): Promise<FastifyReply> {
  const lane = laneOf(request, parts)
  const { allowNoSelection } = parts
  beginStory(request, lane)
  const reception = { ...parts, form: SEGMIND_FORM, allowNoSelection, bodies: lane.bodies }
  return answerQuestion(request, reply, await receiveQuestion(request, reception), lane)
}
