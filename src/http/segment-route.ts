import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.js'
import type { Nanocredits } from '../nanocredits.js'
import { parseCacheControl } from '../segment/cache-control.js'
import type { ImageSource } from '../segment/image-source.js'
import { parseParams } from '../segment/params.js'
import { type PipelineParts, type RequestedImage, segment } from '../segment/pipeline.js'
import type { Caller, ImageBytes, Team } from '../segment/types.js'
import { maxUploadBytes, type ReceivedForm } from '../segment/upload.js'
import { receiveJson } from '../segment/upload-json.js'
import { multipartOptions, receiveMultipart, type UploadPart } from '../segment/upload-multipart.js'
import { sendAnswer } from './answer.js'
import type { UploadBudget } from './upload-budget.js'

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

/** `POST /segment` (SPEC §3): receive, understand, answer. What happens in between is `segment/pipeline.ts`. */
export async function addSegmentRoute(app: FastifyInstance, parts: SegmentRouteParts): Promise<void> {
  const bodyLimit = maxUploadBytes(parts.maxImageBytes)
  app.addContentTypeParser('application/json', { parseAs: 'buffer', bodyLimit }, (_request, body, done) =>
    done(null, body),
  )
  app.route({
    method: 'POST',
    url: '/segment',
    bodyLimit,
    onRequest: async (request, reply) => {
      checkContentType(request)
      holdUpload(request, reply, parts, bodyLimit)
    },
    handler: async (request, reply) => answer(request, reply, parts),
  })
}

async function answer(request: FastifyRequest, reply: FastifyReply, parts: SegmentRouteParts): Promise<FastifyReply> {
  const { facts } = request
  const caller = callerOf(request)
  const form = await receive(request, parts)
  const { params, base64, ignoredFields } = parseParams(form.fields, { base64Default: parts.base64Default })
  const image = await requestedImage(form.image, parts)
  const uploadMs = performance.now() - facts.startedAt
  facts.uploadBytes = form.uploadBytes

  const directives = parseCacheControl(request.headers['cache-control'])
  const answered = await segment({ requestId: request.id, caller, image, params, cache: directives }, parts.pipeline)
  facts.cache = answered.how
  facts.charged = answered.charged
  facts.resultId = answered.key
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

/** Reads the body to its end, in the form its content type names. */
async function receive(request: FastifyRequest, parts: SegmentRouteParts): Promise<ReceivedForm> {
  if (request.isMultipart()) {
    // The plugin's types know neither `isPartAFile` nor a file without a name; both exist.
    const stream = request.parts(multipartOptions(parts) as Parameters<typeof request.parts>[0])
    return receiveMultipart(stream as AsyncIterable<UploadPart>, parts)
  }
  // A body of no bytes is parsed by nobody.
  return receiveJson(Buffer.isBuffer(request.body) ? request.body : '', parts)
}

async function requestedImage(source: ImageSource, parts: SegmentRouteParts): Promise<RequestedImage> {
  if (source.kind === 'id') return { digest: source.digest }
  const uploaded = source.kind === 'bytes' ? source.image : await parts.fetchImage(source.url)
  return { digest: uploaded.digest, uploaded }
}

/** Looks at the content type before the body is asked for. Throws `unsupported_content_type`. */
function checkContentType(request: FastifyRequest): void {
  if (/^(multipart\/form-data|application\/json)\s*(;|$)/i.test(request.headers['content-type'] ?? '')) return
  throw new GatewayError('unsupported_content_type', 'Send multipart/form-data or application/json.')
}

/** Books the memory an upload will take before a byte of it is read, until its answer is out. Throws `image_too_large`, `overloaded`. */
function holdUpload(request: FastifyRequest, reply: FastifyReply, parts: SegmentRouteParts, maxBytes: number): void {
  const declared = Number(request.headers['content-length'] ?? maxBytes)
  if (declared > maxBytes) {
    throw new GatewayError('image_too_large', `The image is larger than the limit of ${parts.maxImageBytes} bytes.`)
  }
  reply.raw.once('close', parts.uploads.hold(declared))
}

function callerOf(request: FastifyRequest): Caller {
  const { caller } = request.facts
  if (!caller) throw new GatewayError('internal_error', 'A request reached its route before it was known whose it is.')
  return caller
}
