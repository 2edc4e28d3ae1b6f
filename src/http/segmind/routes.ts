import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { toCredits } from '../../contracts/nanocredits.js'
import { SEGMIND_FORM } from '../../input/form.js'
import { receiveSegmentRequest } from '../receive/segment-request.js'
import { addUploadRoute } from '../receive/upload-route.js'
import { answerRequest } from '../segment/answer-request.js'
import { beginSegmentation, modeOf } from '../segment/route-parts.js'
import { answerEarly } from '../segment/segment.js'
import { callerOf } from '../server/request-facts.js'
import { addSegmindHeaders, balanceUnknown } from '../server/segmind-dialect.js'
import { addJobRoutes, type JobRouteParts } from './submitted-jobs.js'

/**
 * Adds the drop-in endpoints (docs/reference.md, Drop-in endpoints): Segmind's own paths, statuses,
 * headers and error texts in front of the same pipeline. A client of Segmind works after a change
 * of its base URL and key.
 */
export async function addSegmindRoutes(app: FastifyInstance, parts: JobRouteParts): Promise<void> {
  addSegmindHeaders(app, (request, team) => modeOf(request, parts).refreshRemaining(team))
  addUploadRoute(app, parts, {
    url: '/v1/sam-v2-image',
    form: SEGMIND_FORM,
    isDropIn: true,
    spends: 'request',
    early: (request, reply) => answerEarly(request, reply, parts),
    handle: (request, reply) => answerDirectly(request, reply, parts),
  })
  app.get('/v1/get-user-credits', { config: { isDropIn: true } }, async (request, reply) => {
    const remaining = await modeOf(request, parts).refreshRemaining(callerOf(request).team)
    if (remaining === undefined) throw balanceUnknown()
    return reply.headers({ 'cache-control': 'no-store' }).send({ credits: toCredits(remaining), 'free-credits': 0 })
  })
  addJobRoutes(app, parts)
}

async function answerDirectly(
  request: FastifyRequest,
  reply: FastifyReply,
  parts: JobRouteParts,
): Promise<FastifyReply> {
  const mode = beginSegmentation(request, parts)
  const received = await receiveSegmentRequest(request, parts, { form: SEGMIND_FORM, bodies: mode.bodies })
  return answerRequest(request, reply, received, { mode, memory: parts.memory })
}
