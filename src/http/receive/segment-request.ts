import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { GatewayError } from '../../contracts/errors.js'
import type { UploadForm } from '../../input/form.js'
import { type ParsedFields, parseParams } from '../../input/params.js'
import { parseCacheControl, parsePrefer, parsePriority } from '../../input/request-directives.js'
import type { SegmentRequest } from '../../segment/keyed-request.js'
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

export interface ReceiveOptions extends UploadParts {
  form: UploadForm
  /** `ALLOW_NO_SELECTION`, on drop-in endpoints. */
  allowNoSelection?: boolean
  bodies: KnownBodies
}

/** Receives and parses a segmentation request. Throws the errors of docs/reference.md, Errors. */
export async function receiveSegmentRequest(
  request: FastifyRequest,
  options: ReceiveOptions,
): Promise<ReceivedRequest> {
  const { fields, image, bodyDigest } = await receiveUpload(request, options, options.form)
  const { params, ...rendering } = parseParams(fields, options)
  if (bodyDigest !== undefined) {
    const known: KnownRequest = { digest: image.digest, params, ...rendering }
    options.bodies.remember(bodyName(request, bodyDigest), JSON.stringify(known))
  }
  return { segmentRequest: { ...readHeaders(request), image, params }, ...rendering }
}

/** Parses the headers that decide how a request is answered. Throws `invalid_request`. */
export function readHeaders(request: FastifyRequest): Omit<SegmentRequest, 'image' | 'params'> {
  const { headers, id: requestId } = request
  const { prefer, 'x-priority': priority, 'idempotency-key': idempotencyKey } = headers
  return {
    requestId,
    caller: callerOf(request),
    cache: parseCacheControl(headers['cache-control']),
    prefer: prefer === undefined ? undefined : parsePrefer(prefer),
    isBatch: priority === undefined ? undefined : parsePriority(priority) === 'batch',
    idempotencyKey: idempotencyKey === undefined ? undefined : parseIdempotencyKey(idempotencyKey),
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
  const digest = readDigests(request.headers).get('sha-256')?.toString('hex')
  const text = digest === undefined ? undefined : await bodies.recall(bodyName(request, digest))
  if (text === undefined) return undefined
  const { digest: image, params, ...rendering } = JSON.parse(text) as KnownRequest
  return { segmentRequest: { ...readHeaders(request), image: { digest: image }, params }, ...rendering }
}

type KnownRequest = ParsedFields & { digest: string }

/** The same bytes mean a different request on another route, or with another content type. */
function bodyName(request: FastifyRequest, digest: string): string {
  const name = [request.routeOptions.url, request.headers['content-type'], digest]
  return createHash('sha256').update(JSON.stringify(name)).digest('hex')
}

const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,255}$/

/** Throws `invalid_request`. */
function parseIdempotencyKey(key: string | string[]): string {
  if (typeof key === 'string' && IDEMPOTENCY_KEY.test(key)) return key
  throw new GatewayError('invalid_request', 'Idempotency-Key takes 1–255 printable ASCII characters.')
}
