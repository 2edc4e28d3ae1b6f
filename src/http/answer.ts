import type { FastifyReply } from 'fastify'
import { formatCredits, type Nanocredits } from '../nanocredits.js'
import type { Output } from '../segment/output.js'
import type { SegmentAnswer } from '../segment/pipeline.js'
import type { CacheDirectives, CacheKey, MaskFacts } from '../segment/types.js'

/** How a result is shown to this caller. */
export interface Rendering {
  base64: boolean
  /** Absent where it is not known. */
  imageDigest: string | undefined
  ignoredFields: readonly string[]
  /** Where the selection is, where that was asked for. */
  mask?: MaskFacts | undefined
  directives: CacheDirectives
  remaining: Nanocredits | undefined
  uploadMs: number
  now: number
  freshSeconds: number
}

const X_CACHE = { hit: 'HIT', miss: 'MISS', coalesced: 'COALESCED', stale: 'STALE', bypass: 'BYPASS' } as const

/** Answers a result as the image's own bytes, or as `{"image":"<base64>"}`, with every header of SPEC §3: the same on hits and misses. */
export function sendAnswer(reply: FastifyReply, answer: SegmentAnswer, rendering: Rendering): FastifyReply {
  const { result } = answer
  reply.headers(answerHeaders(answer, rendering))
  if (!isBase64(answer, rendering)) return reply.type(result.contentType).send(result.body)
  return reply.type('application/json; charset=utf-8').send(`{"image":"${result.body.toString('base64')}"}`)
}

/** JSON is text already. */
function isBase64({ result }: SegmentAnswer, { base64 }: Rendering): boolean {
  return base64 && result.contentType.startsWith('image/')
}

/** Seconds after which it makes sense to ask for a result that is on its way. */
const RUNNING_RETRY_AFTER_SECONDS = 2

/** 202: the result is on its way (RFC 9110 §15.3.3). */
export function sendRunning(reply: FastifyReply, id: CacheKey): FastifyReply {
  return reply
    .code(202)
    .headers({ 'x-result-id': id, 'retry-after': String(RUNNING_RETRY_AFTER_SECONDS), 'cache-control': 'no-store' })
    .send({ status: 'running', resultId: id })
}

/** 202 with the address where the result will be (RFC 7240 §4.1). */
export function sendAccepted(
  reply: FastifyReply,
  id: CacheKey,
  { base64, output, imageDigest }: { base64: boolean; output?: Output | undefined; imageDigest: string },
): FastifyReply {
  const query = new URLSearchParams({ ...(base64 && { base64: 'true' }), ...(output && { output }) })
  const location = `/results/${id}${query.size > 0 ? `?${query}` : ''}`
  reply.headers({ location, 'preference-applied': 'respond-async', 'x-image-id': `sha256:${imageDigest}` })
  return sendRunning(reply, id)
}

/** Whether the caller has it already: `If-None-Match` (RFC 9110 §13.1.2). */
export function isNotModified(ifNoneMatch: string | undefined, answer: SegmentAnswer, rendering: Rendering): boolean {
  const known = (ifNoneMatch ?? '').split(',').map(tag => tag.trim().replace(/^W\//, ''))
  return known.includes('*') || known.includes(etagOf(answer, rendering))
}

/** 304: the headers of the answer without it. */
export function sendNotModified(reply: FastifyReply, answer: SegmentAnswer, rendering: Rendering): FastifyReply {
  return reply.code(304).headers(answerHeaders(answer, rendering)).send()
}

function etagOf(answer: SegmentAnswer, rendering: Rendering): string {
  return `"${answer.result.etag}${isBase64(answer, rendering) ? '-base64' : ''}"`
}

function answerHeaders(answer: SegmentAnswer, rendering: Rendering): Record<string, string> {
  const { key, charged } = answer
  const { ignoredFields, remaining } = rendering
  return {
    'cache-status': cacheStatus(answer, rendering),
    'x-cache': X_CACHE[answer.how],
    'x-result-id': key,
    ...(rendering.imageDigest === undefined ? {} : { 'x-image-id': `sha256:${rendering.imageDigest}` }),
    'x-cost': formatCredits(charged),
    ...(remaining === undefined ? {} : { 'x-remaining-credits': formatCredits(remaining) }),
    ...maskHeaders(rendering),
    ...(ignoredFields.length === 0 ? {} : { 'x-ignored-fields': ignoredFields.join(', ') }),
    ...(answer.isReplay ? { 'idempotent-replayed': 'true' } : {}),
    etag: etagOf(answer, rendering),
    age: String(Math.floor(ageSeconds(answer, rendering))),
    'cache-control': 'private, no-transform',
    'x-content-type-options': 'nosniff',
    'server-timing': serverTiming(answer, rendering),
  }
}

/** The box as `x,y,width,height`, and the area, in pixels. */
function maskHeaders({ mask }: Rendering): Record<string, string> {
  return mask ? { 'x-mask-bbox': mask.bbox.join(','), 'x-mask-area': String(mask.area) } : {}
}

/** RFC 9211: what the cache did. `ttl` is the freshness left, negative on a stale answer. */
function cacheStatus(answer: SegmentAnswer, rendering: Rendering): string {
  const ttl = `ttl=${Math.floor(rendering.freshSeconds - ageSeconds(answer, rendering))}`
  const stored = answer.stored ? ['stored'] : []
  const said = {
    hit: ['hit', ttl],
    stale: ['hit', ttl],
    miss: [`fwd=${rendering.directives.maxAgeSeconds === undefined ? 'miss' : 'request'}`, 'fwd-status=200', ...stored],
    coalesced: ['fwd=miss', 'fwd-status=200', ...stored, 'collapsed'],
    bypass: ['fwd=request', 'fwd-status=200', ...stored],
  }[answer.how]
  return ['segmind-gateway', ...said].join('; ')
}

function ageSeconds(answer: SegmentAnswer, rendering: Rendering): number {
  return Math.max(0, (rendering.now - answer.result.storedAt) / 1000)
}

/** Server-Timing (W3C): where the milliseconds went. */
function serverTiming({ timing }: SegmentAnswer, rendering: Rendering): string {
  const spans = {
    upload: rendering.uploadMs,
    cache: timing.cacheMs,
    queue: timing.queueMs,
    upstream: timing.upstreamMs,
  }
  return Object.entries(spans)
    .map(([name, ms]) => `${name};dur=${ms.toFixed(1)}`)
    .join(', ')
}
