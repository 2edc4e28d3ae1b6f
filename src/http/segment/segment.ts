import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../../contracts/errors.js'
import { imageTooLarge } from '../../images/image-type.js'
import { SEGMENT_FORM } from '../../input/form.js'
import { quote } from '../../segment/quote.js'
import { receiveBody } from '../receive/body.js'
import { recallRequest, receiveSegmentRequest } from '../receive/segment-request.js'
import { declaredBytes } from '../receive/upload.js'
import { addUploadRoute } from '../receive/upload-route.js'
import { callerOf } from '../server/request-facts.js'
import { answerRequest } from './answer-request.js'
import { sendQuote } from './quote-response.js'
import { beginSegmentation, modeOf, type TeamRouteParts } from './route-parts.js'

/** Adds `POST /segment` and `POST /segment/quote` (docs/reference.md, POST /segment). */
export function addSegmentRoutes(app: FastifyInstance, parts: TeamRouteParts): void {
  addUploadRoute(app, parts, {
    url: '/segment',
    form: SEGMENT_FORM,
    spends: 'request',
    early: (request, reply) => answerEarly(request, reply, parts),
    async handle(request, reply) {
      const mode = beginSegmentation(request, parts)
      const received = await receiveSegmentRequest(request, parts, { form: SEGMENT_FORM, bodies: mode.bodies })
      return answerRequest(request, reply, received, { mode, memory: parts.memory })
    },
  })
  addUploadRoute(app, parts, {
    url: '/segment/quote',
    form: SEGMENT_FORM,
    handle: (request, reply) => answerQuote(request, reply, parts),
  })
}

/**
 * Lets upload routes read bodies themselves: JSON up to the route's limit, forms through the
 * multipart plugin.
 */
export function addUploadParsers(app: FastifyInstance, { maxImageBytes }: { maxImageBytes: number }): void {
  app.decorateRequest('hold', null as unknown as FastifyRequest['hold'])
  app.addContentTypeParser('application/json', (request: FastifyRequest, payload: Readable) =>
    receiveBody(payload, {
      declaredBytes: declaredBytes(request),
      maxBytes: request.facts.config.maxBodyBytes ?? 0,
      onBytes: request.hold.add,
      tooLarge: () => imageTooLarge(maxImageBytes),
    }),
  )
}

/**
 * Answers a client that waits for `100 Continue` before it sends the body, where the body's digest
 * is known and the result is cached. After any failure the body is read as usual.
 */
export async function answerEarly(
  request: FastifyRequest,
  reply: FastifyReply,
  parts: TeamRouteParts,
): Promise<unknown> {
  const recalled = await recallRequest(request, modeOf(request, parts).bodies)
  const { cache } = recalled?.segmentRequest ?? {}
  if (!recalled || !cache || cache.noCache || cache.noStore) return undefined
  const mode = beginSegmentation(request, parts)
  const { story } = request.facts
  const segmentRequest = { ...recalled.segmentRequest, story, cache: { ...cache, onlyIfCached: true } }
  try {
    return await answerRequest(request, reply, { ...recalled, segmentRequest }, { mode, memory: parts.memory })
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    request.facts.story = undefined
    return undefined
  }
}

async function answerQuote(request: FastifyRequest, reply: FastifyReply, parts: TeamRouteParts): Promise<FastifyReply> {
  const mode = modeOf(request, parts)
  const options = { form: SEGMENT_FORM, bodies: mode.bodies }
  const { segmentRequest, ignoredFields } = await receiveSegmentRequest(request, parts, options)
  const quoted = await quote(segmentRequest, mode.pipeline)
  request.facts.resultId = quoted.key
  return sendQuote(reply, quoted, {
    ignoredFields,
    imageDigest: segmentRequest.image.digest,
    remaining: await mode.allowance.remaining(callerOf(request).team),
    creditState: mode.creditState(),
  })
}
