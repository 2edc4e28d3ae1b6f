import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.js'
import { imageTooLarge } from '../segment/image-source.js'
import { quote } from '../segment/quote.js'
import { SEGMENT_FORM } from '../segment/upload.js'
import { answerQuestion, beginStory, laneOf } from './answer-question.js'
import { callerOf } from './facts.js'
import type { LaneParts } from './lane.js'
import { sendQuote } from './quote-answer.js'
import { receiveBody } from './receive-body.js'
import { declaredBytes } from './receive-form.js'
import { type ReceivedQuestion, recallQuestion, receiveQuestion } from './receive-question.js'
import { addUploadRoute } from './upload-route.js'

/** `POST /segment` and `POST /segment/quote` (SPEC §3): receive, understand, answer. What happens in between is `segment/`. */
export function addSegmentRoutes(app: FastifyInstance, parts: LaneParts): void {
  addUploadRoute(app, parts, {
    url: '/segment',
    form: SEGMENT_FORM,
    early: (request, reply) => answerEarly(request, reply, parts),
    async handle(request, reply) {
      const lane = laneOf(request, parts)
      beginStory(request, lane)
      const received = await receiveQuestion(request, { ...parts, form: SEGMENT_FORM, bodies: lane.bodies })
      return answerQuestion(request, reply, received, lane)
    },
  })
  addUploadRoute(app, parts, {
    url: '/segment/quote',
    form: SEGMENT_FORM,
    handle: (request, reply) => answerQuote(request, reply, parts),
  })
}

/** Bodies are read by the routes themselves: JSON at once, within the bounds of its route; forms by the plugin. */
export function addUploadParsers(app: FastifyInstance, { maxImageBytes }: { maxImageBytes: number }): void {
  app.decorateRequest('hold', null as unknown as FastifyRequest['hold'])
  app.addContentTypeParser('application/json', (request: FastifyRequest, payload: Readable) =>
    receiveBody(payload, {
      declaredBytes: declaredBytes(request),
      maxBytes: request.routeOptions.config.maxBodyBytes ?? 0,
      tooLarge: () => imageTooLarge(maxImageBytes),
    }),
  )
}

/** Answers before the body is asked for, where its digest is known and its answer is there; whatever keeps it from that, the body decides. */
export async function answerEarly(request: FastifyRequest, reply: FastifyReply, parts: LaneParts): Promise<unknown> {
  const lane = laneOf(request, parts)
  const recalled = await recallQuestion(request, lane.bodies)
  const { cache } = recalled?.question ?? {}
  if (!recalled || !cache || cache.noCache || cache.noStore) return undefined
  beginStory(request, lane)
  const question = { ...recalled.question, cache: { ...cache, onlyIfCached: true } }
  try {
    return await answerQuestion(request, reply, { ...recalled, question } satisfies ReceivedQuestion, lane)
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    delete request.facts.story
    return undefined
  }
}

async function answerQuote(request: FastifyRequest, reply: FastifyReply, parts: LaneParts): Promise<FastifyReply> {
  const lane = laneOf(request, parts)
  const { question, ignoredFields } = await receiveQuestion(request, {
    ...parts,
    form: SEGMENT_FORM,
    bodies: lane.bodies,
  })
  const quoted = await quote(question, lane.pipeline)
  request.facts.resultId = quoted.key
  return sendQuote(reply, quoted, {
    ignoredFields,
    imageDigest: question.image.digest,
    remaining: await lane.remaining(callerOf(request).team),
    queue: lane.pipeline.queue(callerOf(request).team),
    creditState: lane.creditState(),
  })
}
