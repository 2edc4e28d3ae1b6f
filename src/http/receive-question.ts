import type { FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.js'
import { parseCacheControl } from '../segment/cache-control.js'
import type { ImageSource } from '../segment/image-source.js'
import { parseParams } from '../segment/params.js'
import { parsePrefer } from '../segment/prefer.js'
import type { RequestedImage, SegmentRequest } from '../segment/question.js'
import type { ImageBytes } from '../segment/types.js'
import { maxUploadBytes, type ReceivedForm, type UploadLimits } from '../segment/upload.js'
import { receiveJson } from '../segment/upload-json.js'
import { type MultipartOptions, receiveMultipart, type UploadPart } from '../segment/upload-multipart.js'
import { callerOf } from './facts.js'
import type { Hold } from './upload-budget.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** What an upload is booked with. */
    hold: Hold
  }
}

export interface ReceivingParts {
  /** Fetches an image behind the URL guard. Throws `image_url_*`, `image_too_large`, `unsupported_image`. */
  fetchImage(url: string): Promise<ImageBytes>
  maxImageBytes: number
  base64Default: boolean
}

/** A question as it was asked, and how its answer is to be shown. */
export interface ReceivedQuestion {
  question: SegmentRequest
  base64: boolean
  ignoredFields: readonly string[]
}

/**
 * How often an image in text is in memory while it is read: the body, the text of the body, the text of the image, its bytes. Less
 * when it has been read: then only the bytes stay.
 */
export const COPIES_OF_TEXT = 4

/** Reads and understands a request for a segmentation (SPEC §3). Throws what is wrong with it. */
export async function receiveQuestion(request: FastifyRequest, parts: ReceivingParts): Promise<ReceivedQuestion> {
  const { facts } = request
  const caller = callerOf(request)
  const form = await receive(request, parts)
  const { params, base64, ignoredFields } = parseParams(form.fields, { base64Default: parts.base64Default })
  const image = await requestedImage(form.image, request.hold, parts)
  facts.uploadMs = performance.now() - facts.startedAt
  facts.uploadBytes = form.uploadBytes
  const cache = parseCacheControl(request.headers['cache-control'])
  const prefer = parsePrefer(request.headers.prefer)
  const question = { requestId: request.id, caller, image, params, cache, prefer, ...idempotencyKeyOf(request) }
  return { question, base64, ignoredFields }
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
async function receive(request: FastifyRequest, parts: ReceivingParts): Promise<ReceivedForm> {
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
async function requestedImage(source: ImageSource, hold: Hold, parts: ReceivingParts): Promise<RequestedImage> {
  if (source.kind === 'id') {
    hold.resize(0)
    return { digest: source.digest }
  }
  if (source.kind === 'url') hold.resize(parts.maxImageBytes)
  const uploaded = source.kind === 'bytes' ? source.image : await parts.fetchImage(source.url)
  hold.resize(uploaded.byteLength)
  return { digest: uploaded.digest, uploaded }
}

/** `Content-Length`, whose form Node has checked. */
export function declaredBytes(request: FastifyRequest): number | undefined {
  const declared = request.headers['content-length']
  return declared === undefined ? undefined : Number(declared)
}
