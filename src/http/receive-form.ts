import type { FastifyRequest } from 'fastify'
import type { ImageSource } from '../segment/image-source.js'
import type { RequestedImage } from '../segment/question.js'
import type { ImageBytes } from '../segment/types.js'
import {
  type FormFields,
  maxUploadBytes,
  type ReceivedForm,
  type UploadForm,
  type UploadLimits,
} from '../segment/upload.js'
import { receiveJson } from '../segment/upload-json.js'
import { type MultipartOptions, receiveMultipart, type UploadPart } from '../segment/upload-multipart.js'
import { checkDigests, readDigests, wholeBody } from './body-digest.js'
import type { Hold } from './upload-budget.js'

export interface ReceivingParts {
  /** Fetches an image behind the URL guard. Throws `image_url_*`, `image_too_large`, `unsupported_image`. */
  fetchImage(url: string): Promise<ImageBytes>
  maxImageBytes: number
  base64Default: boolean
}

/** A body that was read to its end. */
export interface ReceivedUpload {
  fields: FormFields
  image: RequestedImage
  /** SHA-256 of the body (hex), where the request has announced it and it is true. */
  bodyDigest?: string
}

/**
 * How often an image in text is in memory while it is read: the body, the text of the body, the text of the image, its bytes. Less
 * when it has been read: then only the bytes stay.
 */
export const COPIES_OF_TEXT = 4

/** Reads a body with an image, in the form its content type names, and fetches the image where it is elsewhere. Throws what is wrong with it. */
export async function receiveUpload(
  request: FastifyRequest,
  parts: ReceivingParts,
  form: UploadForm,
): Promise<ReceivedUpload> {
  const { facts } = request
  const [received, bodyDigest] = await receiveChecked(request, { maxImageBytes: parts.maxImageBytes, form })
  const image = await requestedImage(received.image, request.hold, parts)
  facts.uploadMs = performance.now() - facts.startedAt
  facts.story?.took('receive', facts.startedAt)
  facts.uploadBytes = received.uploadBytes
  return { fields: received.fields, image, ...(bodyDigest !== undefined && { bodyDigest }) }
}

/** Holds the body against the digests that the request announced. */
async function receiveChecked(
  request: FastifyRequest,
  limits: UploadLimits,
): Promise<[ReceivedForm, string | undefined]> {
  const digests = readDigests(request.headers)
  if (digests.size === 0) return [await receive(request, limits), undefined]
  const check = checkDigests(digests)
  if (Buffer.isBuffer(request.body)) check.add(request.body)
  else request.raw.on('data', check.add)
  const received = await receive(request, limits)
  await wholeBody(request.raw)
  return [received, check.finish()]
}

async function receive(request: FastifyRequest, limits: UploadLimits): Promise<ReceivedForm> {
  if (request.isMultipart()) {
    // The plugin's types know neither `isPartAFile` nor a file without a name; both exist.
    const open = (options: MultipartOptions) =>
      request.parts(options as Parameters<typeof request.parts>[0]) as AsyncIterable<UploadPart>
    const booked = (options: MultipartOptions) => bookTexts(open(options), request, limits)
    return receiveMultipart({ contentType: request.headers['content-type'], raw: request.raw, parts: booked }, limits)
  }
  // A body of no bytes is parsed by nobody.
  const body = Buffer.isBuffer(request.body) ? request.body : ''
  request.body = undefined
  return receiveJson(body, limits)
}

/** Books the copies of an image that comes as the text of a form, before it is read. Throws `overloaded`. */
async function* bookTexts(parts: AsyncIterable<UploadPart>, request: FastifyRequest, limits: UploadLimits) {
  const bytes = declaredBytes(request) ?? maxUploadBytes(limits)
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
