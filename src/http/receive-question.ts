import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.js'
import { parseCacheControl } from '../segment/cache-control.js'
import { type ParsedFields, parseParams } from '../segment/params.js'
import { parsePrefer } from '../segment/prefer.js'
import type { RequestedImage, SegmentRequest } from '../segment/question.js'
import type { UploadForm } from '../segment/upload.js'
import { readDigests } from './body-digest.js'
import { callerOf } from './facts.js'
import type { KnownBodies } from './lane.js'
import { type ReceivingParts, receiveUpload } from './receive-form.js'

/** A question as it was asked, and how its answer is to be shown. */
export interface ReceivedQuestion extends Omit<ParsedFields, 'params'> {
  question: SegmentRequest
}

export interface QuestionReception extends ReceivingParts {
  form: UploadForm
  /** `ALLOW_NO_SELECTION`, at the doors of Segmind. */
  allowNoSelection?: boolean
  bodies: KnownBodies
}

/** Reads and understands a request for a segmentation (SPEC §3). Throws what is wrong with it. */
export async function receiveQuestion(request: FastifyRequest, how: QuestionReception): Promise<ReceivedQuestion> {
  const { fields, image, bodyDigest } = await receiveUpload(request, how, how.form)
  const { params, ...shown } = parseParams(fields, how)
  if (bodyDigest !== undefined) {
    const known: KnownQuestion = { digest: image.digest, params, ...shown }
    how.bodies.remember(bodyName(request, bodyDigest), JSON.stringify(known))
  }
  return { question: { ...askedWith(request), image, params }, ...shown }
}

/** What the headers say about how a question is to be answered. Throws `invalid_request`. */
export function askedWith(request: FastifyRequest): Omit<SegmentRequest, 'image' | 'params'> {
  const caller = callerOf(request)
  const cache = parseCacheControl(request.headers['cache-control'])
  const prefer = parsePrefer(request.headers.prefer)
  return { requestId: request.id, caller, cache, prefer, ...idempotencyKeyOf(request) }
}

/**
 * The question in a body that has not been sent yet: its sender waits to be asked for it (`Expect: 100-continue`) and says what it hashes to, and
 * a body of that hash was read at this address before. Undefined where the body has to be read.
 */
export async function recallQuestion(
  request: FastifyRequest,
  bodies: KnownBodies,
): Promise<ReceivedQuestion | undefined> {
  if (!/^\s*100-continue\s*$/i.test(request.headers.expect ?? '')) return undefined
  const digest = readDigests(request.headers).get('sha-256')?.toString('hex')
  const text = digest === undefined ? undefined : await bodies.recall(bodyName(request, digest))
  if (text === undefined) return undefined
  const { digest: image, params, ...shown } = JSON.parse(text) as KnownQuestion
  return { question: { ...askedWith(request), image: { digest: image } satisfies RequestedImage, params }, ...shown }
}

type KnownQuestion = ParsedFields & { digest: string }

/** The same bytes mean something else at another address, or as another type. */
function bodyName(request: FastifyRequest, digest: string): string {
  const name = [request.routeOptions.url, request.headers['content-type'], digest]
  return createHash('sha256').update(JSON.stringify(name)).digest('hex')
}

const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,255}$/

/** `Idempotency-Key`, any text of the caller's choice. Throws `invalid_request`. */
function idempotencyKeyOf({ headers }: FastifyRequest): { idempotencyKey?: string } {
  const idempotencyKey = headers['idempotency-key']
  if (idempotencyKey === undefined) return {}
  if (typeof idempotencyKey === 'string' && IDEMPOTENCY_KEY.test(idempotencyKey)) return { idempotencyKey }
  throw new GatewayError('invalid_request', 'Idempotency-Key takes 1–255 printable ASCII characters.')
}
