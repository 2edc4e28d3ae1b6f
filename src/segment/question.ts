import { createHash } from 'node:crypto'
import { GatewayError } from '../errors.js'
import { isAcceptable } from './acceptance.js'
import { cacheKey } from './cache-key.js'
import type { PipelineParts } from './ports.js'
import type { Story } from './story.js'
import type { CacheDirectives, CacheKey, Caller, Digest, ImageBytes, Params, Result } from './types.js'

/** One question of one caller, parsed: what to select in which image. */
export interface SegmentRequest {
  requestId: string
  caller: Caller
  image: RequestedImage
  params: Params
  cache: CacheDirectives
  /** `Idempotency-Key`; means something only where the cache is bypassed. */
  idempotencyKey?: string
  /** `Prefer` (RFC 7240): how long this caller waits, and whether it would rather fetch the answer later. */
  prefer?: Preferences
  /** Takes down what happens. */
  story?: Story
  /** Told of work that needs the image's bytes even when the caller has left: the purchase this request leads. */
  holdUntil?(work: Promise<unknown>): void
}

/** The image of a request: its bytes when they came along, else only its id. */
export interface RequestedImage {
  digest: Digest
  uploaded?: ImageBytes
}

export interface Preferences {
  respondAsync: boolean
  waitMs?: number
}

/** A request together with the names of its answer. */
export interface Question extends SegmentRequest {
  key: CacheKey
  /** What the flight, and a kept answer, are called: the cache key, or a name of the caller's `Idempotency-Key`. */
  name: string
  /** The team under `CACHE_SCOPE=team`, else empty. */
  scope: string
  /** The cache may not answer: `no-cache`, `no-store`. */
  mustBuy: boolean
  /** Bought once for an `Idempotency-Key`. */
  isOnce: boolean
  isWanted(result: Result): boolean
  /** When this caller's wait ends, and when it would with all the patience the gateway has; by `performance.now()`. */
  endsAt: number
  patienceEndsAt: number
}

/** How long an answer is replayed to the same `Idempotency-Key`. */
export const REPLAY_SECONDS = 86_400
/** How long a caller that would rather fetch its answer later is kept all the same: refusals come at once. */
const ASYNC_WAIT_MS = 250

/** Gives a request its names and its patience. */
export function toQuestion(request: SegmentRequest, parts: PipelineParts): Question {
  const { cache, caller, idempotencyKey, prefer } = request
  const scope = parts.cacheScope === 'team' ? caller.team.id : ''
  const key = cacheKey(request.image.digest, request.params, scope)
  const mustBuy = (cache.noCache || cache.noStore) && !cache.onlyIfCached
  const isOnce = mustBuy && idempotencyKey !== undefined
  const now = performance.now()
  if (request.story)
    request.story.question = {
      resultId: key,
      digest: request.image.digest,
      params: request.params,
      scope,
      cache,
      isOnce,
    }
  // Where the answer cannot be fetched later the preference is ignored (RFC 7240 §2): told to come back, the caller would buy a second time.
  const canBeFetched = !mustBuy && parts.coalesce
  const waitMs = prefer?.waitMs ?? (prefer?.respondAsync && canBeFetched ? ASYNC_WAIT_MS : parts.patienceMs)
  return {
    ...request,
    key,
    name: isOnce ? onceName(caller.team.id, idempotencyKey) : key,
    scope,
    mustBuy,
    isOnce,
    isWanted: isOnce
      ? result => parts.now() - result.storedAt < REPLAY_SECONDS * 1000
      : result => isAcceptable(result, cache, parts),
    endsAt: now + Math.min(waitMs, parts.patienceMs),
    patienceEndsAt: now + parts.patienceMs,
  }
}

/** Refuses an `Idempotency-Key` that was used for another question. Throws `idempotency_key_reused`. */
export function checkReplay(question: Question, result: Result): void {
  if (question.isOnce && result.answers !== question.key) throw reused()
}

/** What the second question under one `Idempotency-Key` is told. */
export function reused(): GatewayError {
  return new GatewayError(
    'idempotency_key_reused',
    'This Idempotency-Key was used for another image or other parameters; use a new one for each question.',
  )
}

/** The name of what a team asked for with an `Idempotency-Key`: no cache key, and no other team's. */
function onceName(team: string, idempotencyKey: string): string {
  return `once:${createHash('sha256')
    .update(JSON.stringify([team, idempotencyKey]))
    .digest('hex')}`
}
