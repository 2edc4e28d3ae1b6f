import type { FastifyRequest } from 'fastify'
import { defined } from '../../contracts/defined.js'
import { andThen, type MaybePromise } from '../../contracts/maybe-promise.js'
import type { ImageBytes } from '../../contracts/types.js'
import type { FormFields, ReceivedForm, UploadForm, UploadLimits } from '../../input/form.js'
import type { ImageSource } from '../../input/image-source.js'
import { receiveJson } from '../../input/json.js'
import { type MultipartRequest, receiveMultipart } from '../../input/multipart.js'
import type { RequestedImage } from '../../segment/keyed-request.js'
import { createDigestCheck, readDigests, readEpilogue } from './body-digest.js'
import type { MemoryHold } from './transfer-memory.js'

export interface UploadParts {
  /**
   * Fetches an image URL. Throws `image_url_*`, `image_too_large`, `unsupported_image`, and the
   * errors of `onBytes`, which is called before bytes are kept.
   */
  fetchImage(url: string, onBytes: (count: number) => void): Promise<ImageBytes>
  maxImageBytes: number
  base64Default: boolean
}

export interface ReceivedUpload {
  fields: FormFields
  image: RequestedImage
  /** Verified SHA-256 of the body (hex), if the request declared it. */
  bodyDigest: string | undefined
}

/**
 * Reads a body with an image in any accepted form, and fetches an image given by URL. `accept` is
 * called in between; what it throws ends the request. Throws the errors of docs/reference.md,
 * Errors.
 */
export function receiveUpload(
  request: FastifyRequest,
  parts: UploadParts,
  form: UploadForm,
  accept?: (fields: FormFields) => Promise<void>,
): MaybePromise<ReceivedUpload> {
  const { facts, headers } = request
  const limits = { maxImageBytes: parts.maxImageBytes, form, onBytes: request.hold.add }
  const hasDigest = headers['content-digest'] !== undefined || headers['repr-digest'] !== undefined
  const receiving: MaybePromise<VerifiedForm> = (hasDigest ? receiveVerified : receive)(request, limits)
  return andThen(receiving, ({ image: source, fields, uploadBytes, bodyDigest }) => {
    const accepted = accept?.(fields)
    const resolve = () => resolveImage(source, request.hold, parts)
    return andThen(accepted ? accepted.then(resolve) : resolve(), image => {
      facts.uploadMs = performance.now() - facts.startedAt
      facts.story?.recordStep('receive', facts.startedAt)
      facts.uploadBytes = uploadBytes
      return { fields, image, bodyDigest }
    })
  })
}

interface VerifiedForm extends ReceivedForm {
  bodyDigest?: string
}

/** Reads the body and verifies the digests that the request declares. */
async function receiveVerified(request: FastifyRequest, limits: UploadLimits): Promise<VerifiedForm> {
  const digests = readDigests(request.headers)
  if (digests.size === 0) return receive(request, limits)
  const check = createDigestCheck(digests)
  if (Buffer.isBuffer(request.body)) check.add(request.body)
  else request.raw.on('data', check.add)
  const received = await receive(request, limits)
  await readEpilogue(request.raw)
  return { ...received, ...defined({ bodyDigest: check.finish() }) }
}

function receive(request: FastifyRequest, limits: UploadLimits): MaybePromise<ReceivedForm> {
  // The plugin's types lack `isPartAFile` and files without a name.
  if (request.isMultipart()) return receiveMultipart(request as unknown as MultipartRequest, limits)
  // Fastify calls no parser for an empty body.
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
  request.body = undefined
  return receiveJson(body, limits)
}

/** Fetches an image given by URL. A request by id books no memory. */
function resolveImage(source: ImageSource, hold: MemoryHold, parts: UploadParts): MaybePromise<RequestedImage> {
  switch (source.kind) {
    case 'id':
      hold.shrinkTo(0)
      return { digest: source.digest }
    case 'bytes':
      hold.onEnd(() => source.image.release?.())
      return { digest: source.image.digest, uploaded: source.image }
    case 'url':
      return parts.fetchImage(source.url, hold.add).then(uploaded => ({ digest: uploaded.digest, uploaded }))
  }
}

/** Returns `Content-Length`, which Node has validated. */
export function declaredBytes(request: FastifyRequest): number | undefined {
  const declared = request.headers['content-length']
  return declared === undefined ? undefined : Number(declared)
}
