import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import { defined } from '../../contracts/defined.js'
import { formatCredits, type Nanocredits } from '../../contracts/nanocredits.js'
import type { CacheDirectives, CacheKey, Frame, MaskFacts } from '../../contracts/types.js'
import type { OutputForm } from '../../input/output-form.js'
import type { SegmentAnswer } from '../../segment/pipeline.js'
import type { QueuePlace } from '../../segment/ports.js'
import { matchesTag } from '../server/entity-tag.js'
import { base64Length, base64Slices } from './base64-body.js'

/** Properties of the response that do not belong to the answer. */
export interface Rendering {
  base64: boolean
  /** `If-None-Match`, where a 304 is possible. */
  ifNoneMatch?: string | undefined
  /** Absent while unknown. */
  imageDigest: string | undefined
  ignoredFields: readonly string[]
  /** Size and orientation of the photo in which the result is; absent while unknown. */
  frame?: Frame | undefined
  /** Position of the selection, where the output form has one. */
  mask?: MaskFacts | undefined
  directives: CacheDirectives
  /** Cost of the purchase, on a result that is fetched by the team that bought it. */
  purchaseCost?: Nanocredits | undefined
  remaining: Nanocredits | undefined
  uploadMs: number
  now: number
  freshSeconds: number
}

const X_CACHE = { hit: 'HIT', miss: 'MISS', coalesced: 'COALESCED', stale: 'STALE', bypass: 'BYPASS' } as const

/**
 * Sends a result as the image's own bytes or as `{"image":"<base64>"}`, with the same headers on
 * hits and misses (docs/reference.md, POST /segment). Sends 304 when the caller has it already (RFC
 * 9110 §13.1.2).
 */
export function sendAnswer(reply: FastifyReply, answer: SegmentAnswer, rendering: Rendering): FastifyReply {
  const { body, contentType, etag: strongTag } = answer.result
  // A JSON result is text already.
  const isBase64 = rendering.base64 && contentType.startsWith('image/')
  const etag = `"${strongTag}${isBase64 ? '-base64' : ''}"`
  reply.headers(headersOf(answer, etag, rendering))
  const { ifNoneMatch } = rendering
  if (ifNoneMatch !== undefined && matchesTag(ifNoneMatch, etag)) return reply.code(304).send()
  if (!isBase64) return reply.type(contentType).send(body)
  return sendBase64(reply.type('application/json; charset=utf-8'), body)
}

const JSON_HEAD = '{"image":"'
const JSON_TAIL = '"}'
/** A larger picture is sent in slices. */
const WHOLE_BYTES = 96 * 1024

function sendBase64(reply: FastifyReply, body: Buffer): FastifyReply {
  if (body.length <= WHOLE_BYTES) return reply.send(`${JSON_HEAD}${body.toString('base64')}${JSON_TAIL}`)
  reply.header('content-length', String(JSON_HEAD.length + base64Length(body.length) + JSON_TAIL.length))
  if (reply.request.method === 'HEAD') return reply.send('')
  return reply.send(Readable.from(base64Json(body), { objectMode: false }))
}

async function* base64Json(body: Buffer): AsyncGenerator<Buffer> {
  yield Buffer.from(JSON_HEAD)
  yield* base64Slices(body)
  yield Buffer.from(JSON_TAIL)
}

/** Seconds after which it makes sense to request a result that is in flight. */
const RUNNING_RETRY_AFTER_SECONDS = 2

/**
 * Sends 202: the result is in flight (RFC 9110 §15.3.3), with its place where it still waits for a
 * slot.
 */
export function sendRunning(reply: FastifyReply, id: CacheKey, queue?: QueuePlace): FastifyReply {
  const retryAfter = Math.max(RUNNING_RETRY_AFTER_SECONDS, Math.ceil((queue?.waitMs ?? 0) / 1000))
  return reply
    .code(202)
    .headers({ 'x-result-id': id, 'retry-after': String(retryAfter), 'cache-control': 'no-store' })
    .send({ status: 'running', resultId: id, ...(queue && { queue: placeToJson(queue) }) })
}

export function placeToJson({ position, waitMs }: Partial<QueuePlace>): { position?: number; waitSeconds?: number } {
  return defined({ position, waitSeconds: waitMs === undefined ? undefined : Math.round(waitMs / 100) / 10 })
}

interface AcceptedRendering {
  base64: boolean
  form: OutputForm
  imageDigest: string
  queue?: QueuePlace | undefined
}

/** Sends 202 with the future URL of the result (RFC 7240 §4.1). */
export function sendAccepted(
  reply: FastifyReply,
  id: CacheKey,
  { base64, form, imageDigest, queue }: AcceptedRendering,
): FastifyReply {
  const { output, simplify } = form
  const query = new URLSearchParams({
    ...(base64 && { base64: 'true' }),
    ...(output && { output }),
    ...(simplify !== undefined && { simplify: String(simplify) }),
  })
  const location = `/results/${id}${query.size > 0 ? `?${query}` : ''}`
  reply.headers({ location, 'preference-applied': 'respond-async', 'x-image-id': `sha256:${imageDigest}` })
  return sendRunning(reply, id, queue)
}

function headersOf(answer: SegmentAnswer, etag: string, rendering: Rendering): Record<string, string> {
  const { how, key, charged, result, isReplay, timing } = answer
  const { imageDigest, purchaseCost, remaining, frame, mask, ignoredFields, uploadMs, now, freshSeconds } = rendering
  const ageSeconds = Math.max(0, (now - result.storedAt) / 1000)
  const headers: Record<string, string> = {
    'cache-status': cacheStatus(answer, rendering.directives, Math.floor(freshSeconds - ageSeconds)),
    'x-cache': X_CACHE[how],
    'x-result-id': key,
    'x-cost': formatCredits(charged),
    etag,
    age: String(Math.floor(ageSeconds)),
    'cache-control': 'private, no-transform',
    'x-content-type-options': 'nosniff',
    // Server-Timing (W3C), in milliseconds.
    'server-timing':
      `upload;dur=${tenths(uploadMs)}, cache;dur=${tenths(timing.cacheMs)}, ` +
      `queue;dur=${tenths(timing.queueMs)}, upstream;dur=${tenths(timing.upstreamMs)}`,
  }
  if (frame) Object.assign(headers, frameHeaders(frame))
  if (imageDigest !== undefined) headers['x-image-id'] = `sha256:${imageDigest}`
  if (purchaseCost !== undefined) headers['x-purchase-cost'] = formatCredits(purchaseCost)
  if (remaining !== undefined) headers['x-remaining-credits'] = formatCredits(remaining)
  if (mask) {
    headers['x-mask-bbox'] = mask.bbox.join(',')
    headers['x-mask-area'] = String(mask.area)
  }
  if (ignoredFields.length > 0) headers['x-ignored-fields'] = ignoredFields.join(', ')
  if (isReplay) headers['idempotent-replayed'] = 'true'
  return headers
}

function tenths(ms: number): string {
  return ms === 0 ? '0.0' : ms.toFixed(1)
}

/** Names size and orientation as `POST /images` does. */
export function frameHeaders(frame: Frame | undefined): Record<string, string> {
  if (!frame) return {}
  const { width, height, orientation } = frame
  return {
    'x-image-width': String(width),
    'x-image-height': String(height),
    'x-image-orientation': String(orientation),
  }
}

/**
 * Formats `Cache-Status` (RFC 9211). `ttlSeconds` is the remaining freshness, negative on a stale
 * answer.
 */
function cacheStatus({ how, stored }: SegmentAnswer, { maxAgeSeconds }: CacheDirectives, ttlSeconds: number): string {
  if (how === 'hit' || how === 'stale') return `segmind-gateway; hit; ttl=${ttlSeconds}`
  const isForced = how === 'bypass' || (how === 'miss' && maxAgeSeconds !== undefined)
  const fwd = `segmind-gateway; fwd=${isForced ? 'request' : 'miss'}; fwd-status=200`
  return `${fwd}${stored ? '; stored' : ''}${how === 'coalesced' ? '; collapsed' : ''}`
}
