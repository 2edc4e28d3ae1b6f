import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.js'
import type { Nanocredits } from '../nanocredits.js'
import { parseCacheControl } from '../segment/cache-control.js'
import { type ImageSource, imageTooLarge } from '../segment/image-source.js'
import { parseParams } from '../segment/params.js'
import { segment } from '../segment/pipeline.js'
import type { PipelineParts } from '../segment/ports.js'
import { parsePrefer } from '../segment/prefer.js'
import type { RequestedImage } from '../segment/question.js'
import { Story } from '../segment/story.js'
import type { ImageBytes, Team } from '../segment/types.js'
import { maxUploadBytes, type ReceivedForm, type UploadLimits } from '../segment/upload.js'
import { receiveJson } from '../segment/upload-json.js'
import { type MultipartOptions, receiveMultipart, type UploadPart } from '../segment/upload-multipart.js'
import { sendAccepted, sendAnswer } from './answer.js'
import { callerOf } from './facts.js'
import { receiveBody } from './receive-body.js'
import type { Hold, UploadBudget } from './upload-budget.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** What an upload is booked with. */
    hold: Hold
  }
}

export interface SegmentRouteParts {
  pipeline: PipelineParts
  uploads: UploadBudget
  /** Fetches an image behind the URL guard. Throws `image_url_*`, `image_too_large`, `unsupported_image`. */
  fetchImage(url: string): Promise<ImageBytes>
  /** What the team may still spend; undefined when that is not known. */
  remaining(team: Team): Promise<Nanocredits | undefined>
  maxImageBytes: number
  base64Default: boolean
}

/**
 * How often an image in text is in memory while it is read: the body, the text of the body, the text of the image, its bytes. Less
 * when it has been read: then only the bytes stay.
 */
const COPIES_OF_TEXT = 4

/** `POST /segment` (SPEC §3): receive, understand, answer. What happens in between is `segment/pipeline.ts`. */
export async function addSegmentRoute(app: FastifyInstance, parts: SegmentRouteParts): Promise<void> {
  const maxBytes = maxUploadBytes(parts.maxImageBytes)
  const tooLarge = () => imageTooLarge(parts.maxImageBytes)
  app.decorateRequest('hold', null as unknown as Hold)
  app.addContentTypeParser('application/json', (request: FastifyRequest, payload: Readable) =>
    receiveBody(payload, { declaredBytes: declaredBytes(request), maxBytes, tooLarge }),
  )
  app.route({
    method: 'POST',
    url: '/segment',
    onRequest: async (request, reply) => {
      checkContentType(request)
      if ((declaredBytes(request) ?? 0) > maxBytes) throw tooLarge()
      // The client left while its rate was looked up: it is not answered, and nothing is begun.
      if (request.exchange.isOver) reply.hijack()
      else holdUpload(request, parts.uploads, maxBytes)
    },
    handler: async (request, reply) => {
      if (request.exchange.isOver) return reply.hijack()
      const answered = answer(request, reply, parts)
      request.hold.until(answered)
      return answered
    },
  })
}

async function answer(request: FastifyRequest, reply: FastifyReply, parts: SegmentRouteParts): Promise<FastifyReply> {
  const { facts } = request
  const caller = callerOf(request)
  const story = new Story()
  facts.story = story
  const form = await receive(request, parts)
  const { params, base64, ignoredFields } = parseParams(form.fields, { base64Default: parts.base64Default })
  const image = await requestedImage(form.image, request.hold, parts)
  const uploadMs = performance.now() - facts.startedAt
  facts.uploadBytes = form.uploadBytes
  facts.uploadMs = uploadMs

  const directives = parseCacheControl(request.headers['cache-control'])
  const prefer = parsePrefer(request.headers.prefer)
  const holdUntil = (work: Promise<unknown>) => request.hold.until(work)
  const question = { requestId: request.id, caller, image, params, cache: directives, prefer, holdUntil, story }
  const answered = await segment({ ...question, ...idempotencyKeyOf(request) }, parts.pipeline)
  facts.resultId = answered.key
  if (answered.how === 'accepted') return sendAccepted(reply, answered.key, { base64, imageDigest: image.digest })
  facts.cache = answered.how
  facts.charged = answered.charged
  facts.cacheMs = answered.timing.cacheMs
  facts.upstreamMs = answered.timing.upstreamMs

  return sendAnswer(reply, answered, {
    base64,
    ignoredFields,
    directives,
    uploadMs,
    imageDigest: image.digest,
    remaining: await parts.remaining(caller.team),
    now: parts.pipeline.now(),
    freshSeconds: parts.pipeline.freshSeconds,
  })
}

const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,255}$/

/** `Idempotency-Key`, any text of the caller's choice. Throws `invalid_request`. */
function idempotencyKeyOf({ headers }: FastifyRequest): { idempotencyKey?: string } {
  const idempotencyKey = headers['idempotency-key']
  if (idempotencyKey === undefined) return {}
  if (typeof idempotencyKey === 'string' && IDEMPOTENCY_KEY.test(idempotencyKey)) return { idempotencyKey }
  throw new GatewayError('invalid_request', 'Idempotency-Key takes 1–255 printable ASCII characters.')
}

/** Reads the body to its end, in the form its content type names. */
async function receive(request: FastifyRequest, parts: SegmentRouteParts): Promise<ReceivedForm> {
  if (request.isMultipart()) {
    // The plugin's types know neither `isPartAFile` nor a file without a name; both exist.
    const open = (options: MultipartOptions) =>
      request.parts(options as Parameters<typeof request.parts>[0]) as AsyncIterable<UploadPart>
    const booked = (options: MultipartOptions) => bookTexts(open(options), request, parts)
    return receiveMultipart({ contentType: request.headers['content-type'], raw: request.raw, parts: booked }, parts)
  }
  // A body of no bytes is parsed by nobody.
  const body = Buffer.isBuffer(request.body) ? request.body : ''
  request.body = undefined
  return receiveJson(body, parts)
}

/** Books the copies of an image that comes as the text of a form, before it is read. Throws `overloaded`. */
async function* bookTexts(parts: AsyncIterable<UploadPart>, request: FastifyRequest, { maxImageBytes }: UploadLimits) {
  const bytes = declaredBytes(request) ?? maxUploadBytes(maxImageBytes)
  for await (const part of parts) {
    if (part.type === 'file' && part.filename === undefined) request.hold.resize(COPIES_OF_TEXT * bytes)
    yield part
  }
}

/** From here on no more is held than the image itself; the most that it may be while it is fetched. */
async function requestedImage(source: ImageSource, hold: Hold, parts: SegmentRouteParts): Promise<RequestedImage> {
  if (source.kind === 'id') {
    hold.resize(0)
    return { digest: source.digest }
  }
  if (source.kind === 'url') hold.resize(parts.maxImageBytes)
  const uploaded = source.kind === 'bytes' ? source.image : await parts.fetchImage(source.url)
  hold.resize(uploaded.byteLength)
  return { digest: uploaded.digest, uploaded }
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

/** `Content-Length`, whose form Node has checked. */
function declaredBytes(request: FastifyRequest): number | undefined {
  const declared = request.headers['content-length']
  return declared === undefined ? undefined : Number(declared)
}
