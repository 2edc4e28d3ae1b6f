import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.js'
import type { Nanocredits } from '../nanocredits.js'
import { imageTooLarge } from '../segment/image-source.js'
import { segment } from '../segment/pipeline.js'
import type { QuoteParts } from '../segment/quote.js'
import { quote } from '../segment/quote.js'
import { Story } from '../segment/story.js'
import type { Team } from '../segment/types.js'
import { maxUploadBytes } from '../segment/upload.js'
import { sendAccepted, sendAnswer } from './answer.js'
import { callerOf } from './facts.js'
import { sendQuote } from './quote-answer.js'
import { receiveBody } from './receive-body.js'
import { COPIES_OF_TEXT, declaredBytes, type ReceivingParts, receiveQuestion } from './receive-question.js'
import type { Hold, UploadBudget } from './upload-budget.js'

export interface SegmentRouteParts extends ReceivingParts {
  pipeline: QuoteParts
  uploads: UploadBudget
  /** What the team may still spend; undefined when that is not known. */
  remaining(team: Team): Promise<Nanocredits | undefined>
  /** Undefined while nothing is known of the account. */
  creditState(): 'normal' | 'reserve' | 'empty' | undefined
}

type Handler = (request: FastifyRequest, reply: FastifyReply, parts: SegmentRouteParts) => Promise<FastifyReply>

/** `POST /segment` and `POST /segment/quote` (SPEC §3): receive, understand, answer. What happens in between is `segment/`. */
export async function addSegmentRoutes(app: FastifyInstance, parts: SegmentRouteParts): Promise<void> {
  const maxBytes = maxUploadBytes(parts.maxImageBytes)
  app.decorateRequest('hold', null as unknown as Hold)
  app.addContentTypeParser('application/json', (request: FastifyRequest, payload: Readable) =>
    receiveBody(payload, {
      declaredBytes: declaredBytes(request),
      maxBytes,
      tooLarge: () => imageTooLarge(parts.maxImageBytes),
    }),
  )
  addUploadRoute(app, '/segment', answer, parts)
  addUploadRoute(app, '/segment/quote', answerQuote, parts)
}

function addUploadRoute(app: FastifyInstance, url: string, handle: Handler, parts: SegmentRouteParts): void {
  const maxBytes = maxUploadBytes(parts.maxImageBytes)
  app.route({
    method: 'POST',
    url,
    onRequest: async (request, reply) => {
      checkContentType(request)
      if ((declaredBytes(request) ?? 0) > maxBytes) throw imageTooLarge(parts.maxImageBytes)
      // The client left while its rate was looked up: it is not answered, and nothing is begun.
      if (request.exchange.isOver) reply.hijack()
      else holdUpload(request, parts.uploads, maxBytes)
    },
    handler: async (request, reply) => {
      if (request.exchange.isOver) return reply.hijack()
      const answered = handle(request, reply, parts)
      request.hold.until(answered)
      return answered
    },
  })
}

async function answer(request: FastifyRequest, reply: FastifyReply, parts: SegmentRouteParts): Promise<FastifyReply> {
  const { facts } = request
  const story = new Story()
  facts.story = story
  const { question, base64, ignoredFields } = await receiveQuestion(request, parts)
  const { uploadMs = 0 } = facts
  const imageDigest = question.image.digest
  const holdUntil = (work: Promise<unknown>) => request.hold.until(work)
  const answered = await segment({ ...question, holdUntil, story }, parts.pipeline)
  facts.resultId = answered.key
  if (answered.how === 'accepted') return sendAccepted(reply, answered.key, { base64, imageDigest })
  facts.cache = answered.how
  facts.charged = answered.charged
  facts.cacheMs = answered.timing.cacheMs
  facts.upstreamMs = answered.timing.upstreamMs

  return sendAnswer(reply, answered, {
    ...{ base64, ignoredFields, uploadMs, imageDigest },
    directives: question.cache,
    remaining: await parts.remaining(question.caller.team),
    now: parts.pipeline.now(),
    freshSeconds: parts.pipeline.freshSeconds,
  })
}

async function answerQuote(
  request: FastifyRequest,
  reply: FastifyReply,
  parts: SegmentRouteParts,
): Promise<FastifyReply> {
  const { team } = callerOf(request)
  const { question, ignoredFields } = await receiveQuestion(request, parts)
  const quoted = await quote(question, parts.pipeline)
  request.facts.resultId = quoted.key
  return sendQuote(reply, quoted, {
    ignoredFields,
    imageDigest: question.image.digest,
    remaining: await parts.remaining(team),
    queue: parts.pipeline.queue(team),
    creditState: parts.creditState(),
  })
}

/** Looks at the content type before the body is asked for. Throws `unsupported_content_type`. */
function checkContentType(request: FastifyRequest): void {
  if (/^(multipart\/form-data|application\/json)\s*(;|$)/i.test(request.headers['content-type'] ?? '')) return
  throw new GatewayError('unsupported_content_type', 'Send multipart/form-data or application/json.')
}

/** Books the memory an upload will take, before a byte of it is read, until its answer and all the work with it are done. Throws `overloaded`. */
function holdUpload(request: FastifyRequest, uploads: UploadBudget, maxBytes: number): void {
  const copies = /^application\/json/i.test(request.headers['content-type'] ?? '') ? COPIES_OF_TEXT : 1
  request.hold = uploads.hold(copies * (declaredBytes(request) ?? maxBytes))
  request.exchange.whenOver(request.hold.release)
}
