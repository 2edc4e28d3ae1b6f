import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { GatewayError } from '../../contracts/errors.js'
import { andThen, type MaybePromise } from '../../contracts/maybe-promise.js'
import type { UploadForm } from '../../input/form.js'
import { type ParsedFields, parseParams } from '../../input/params.js'
import { parseCacheControl, parsePrefer, parsePriority } from '../../input/request-directives.js'
import type { RequestedImage, SegmentRequest } from '../../segment/keyed-request.js'
import { callerOf } from '../server/request-facts.js'
import { readDigests } from './body-digest.js'
import { receiveUpload, type UploadParts } from './upload.js'

/** A parsed request, and the form of its response. */
export interface ReceivedRequest extends Omit<ParsedFields, 'params'> {
  segmentRequest: SegmentRequest
}

/** Requests by the digest of their body, as JSON. Never throws. */
export interface KnownBodies {
  recall(name: string): Promise<string | undefined>
  remember(name: string, request: string): void
}

export interface ReceiveParts extends UploadParts {
  /** `ALLOW_NO_SELECTION`, on drop-in endpoints. */
  allowNoSelection?: boolean
}

/** Receives and parses a segmentation request. Throws the errors of docs/reference.md, Errors. */
export function receiveSegmentRequest(
  request: FastifyRequest,
  parts: ReceiveParts,
  { form, bodies }: { form: UploadForm; bodies: KnownBodies },
): MaybePromise<ReceivedRequest> {
  return andThen(receiveUpload(request, parts, form), ({ fields, image, bodyDigest }) => {
    const parsed = parseParams(fields, parts)
    if (bodyDigest !== undefined) {
      const known: KnownRequest = { digest: image.digest, ...parsed }
      bodies.remember(bodyName(request, bodyDigest), JSON.stringify(known))
    }
    return toReceived(request, image, parsed)
  })
}

function toReceived(request: FastifyRequest, image: RequestedImage, parsed: ParsedFields): ReceivedRequest {
  const { params, base64, ignoredFields, output, simplify } = parsed
  return { segmentRequest: { ...readHeaders(request), image, params }, base64, ignoredFields, output, simplify }
}

/**
 * Parses the headers that decide how a request is answered, and adds its lifetime, memory and
 * record. Throws `invalid_request`.
 */
export function readHeaders(request: FastifyRequest): Omit<SegmentRequest, 'image' | 'params'> {
  const { headers, id: requestId, hold, lifetime, facts } = request
  const { prefer, 'x-priority': priority, 'idempotency-key': idempotencyKey } = headers
  return {
    requestId,
    caller: callerOf(request),
    cache: parseCacheControl(headers['cache-control']),
    prefer: prefer === undefined ? undefined : parsePrefer(prefer),
    isBatch: priority === undefined ? undefined : parsePriority(priority) === 'batch',
    idempotencyKey: idempotencyKey === undefined ? undefined : parseIdempotencyKey(idempotencyKey),
    holdUntil: hold.until,
    holdBuffer: hold.addBuffer,
    onGone: lifetime.onEnd,
    story: facts.story,
  }
}

/**
 * Recalls the request of a body that was not sent yet. Its client waits for `100 Continue`,
 * declares the body's digest, and the same body was received at this route before. Returns
 * undefined where the body must be read.
 */
export async function recallRequest(
  request: FastifyRequest,
  bodies: KnownBodies,
): Promise<ReceivedRequest | undefined> {
  if (!/^\s*100-continue\s*$/i.test(request.headers.expect ?? '')) return undefined
  const bodyDigest = readDigests(request.headers).get('sha-256')?.toString('hex')
  const text = bodyDigest === undefined ? undefined : await bodies.recall(bodyName(request, bodyDigest))
  if (text === undefined) return undefined
  const { digest, ...parsed } = JSON.parse(text) as KnownRequest
  return toReceived(request, { digest }, parsed)
}

type KnownRequest = ParsedFields & { digest: string }

/** The same bytes mean a different request on another route, or with another content type. */
function bodyName(request: FastifyRequest, digest: string): string {
  const name = [request.facts.route, request.headers['content-type'], digest]
  return createHash('sha256').update(JSON.stringify(name)).digest('hex')
}

const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,255}$/

/** Throws `invalid_request`. */
function parseIdempotencyKey(key: string | string[]): string {
  if (typeof key === 'string' && IDEMPOTENCY_KEY.test(key)) return key
  throw new GatewayError('invalid_request', 'Idempotency-Key takes 1–255 printable ASCII characters.')
}
