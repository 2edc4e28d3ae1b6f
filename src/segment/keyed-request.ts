import { createHash } from 'node:crypto'
import { GatewayError } from '../contracts/errors.js'
import type {
  CacheDirectives,
  CacheKey,
  Caller,
  Digest,
  ImageBytes,
  Params,
  Preferences,
  Result,
} from '../contracts/types.js'
import { cacheKey } from './cache-key.js'
import { isFreshEnough } from './lookup.js'
import type { PipelineParts } from './ports.js'
import type { Story } from './story.js'

/** A parsed request: what one caller selects in one image. */
export interface SegmentRequest {
  requestId: string
  caller: Caller
  image: RequestedImage
  params: Params
  cache: CacheDirectives
  /** `Idempotency-Key`; has an effect only where the cache is bypassed. */
  idempotencyKey?: string | undefined
  prefer?: Preferences | undefined
  /** Served after the interactive requests of its team: `X-Priority: batch`, selections of a batch. */
  isBatch?: boolean | undefined
  /**
   * Calls `work` when the caller has left. Absent for a request whose caller fetches its result
   * later: it never leaves.
   */
  onGone?: ((work: () => void) => void) | undefined
  /** Records what happens to the request. */
  story?: Story | undefined
  /**
   * Called with work that needs the image's bytes even after the caller has left: the purchase this
   * request leads.
   */
  holdUntil?: ((work: Promise<unknown>) => void) | undefined
  /** Books an image that was read from the store until then. Throws `overloaded`. */
  holdBuffer?: ((buffer: Buffer) => void) | undefined
}

/** The image of a request: its bytes when they were uploaded, else only its id. */
export interface RequestedImage {
  digest: Digest
  uploaded?: ImageBytes | undefined
}

/** A request with the keys and rules that decide how it is answered. */
export interface KeyedRequest extends SegmentRequest {
  key: CacheKey
  /** Name of the flight: the cache key, or under an `Idempotency-Key` a name derived from it. */
  name: string
  /** The team under `CACHE_SCOPE=team`, else empty. */
  scope: string
  /** True when the cache must not answer: `no-cache`, `no-store`. */
  mustBuy: boolean
  /** True when the purchase is made once for its `Idempotency-Key`. */
  isIdempotent: boolean
  isAcceptable(result: Result): boolean
  /** End of this caller's wait, by `performance.now()`. */
  deadline: number
  /** End of the longest wait that `CLIENT_TIMEOUT_MS` allows, by `performance.now()`. */
  latestDeadline: number
}

/** Time in which an `Idempotency-Key` replays its result. */
export const REPLAY_SECONDS = 86_400
/**
 * Wait of a `respond-async` caller before its 202, so that an immediate refusal is still reported
 * directly.
 */
const ASYNC_WAIT_MS = 250

/** Derives the keys, rules and deadlines of a request. */
export function keyRequest(request: SegmentRequest, parts: PipelineParts): KeyedRequest {
  const { cache, caller, idempotencyKey, image, params, prefer, story } = request
  const scope = parts.cacheScope === 'team' ? caller.team.id : ''
  const key = cacheKey(image.digest, params, scope)
  const mustBuy = (cache.noCache || cache.noStore) && !cache.onlyIfCached
  const isIdempotent = mustBuy && idempotencyKey !== undefined
  if (story) story.question = { resultId: key, digest: image.digest, params, scope, cache, isIdempotent }
  // Ignored where the result could not be fetched later, since the caller would buy it again (RFC
  // 7240 §2).
  const isAsync = prefer?.respondAsync && !mustBuy && parts.coalesce
  const waitMs = prefer?.waitMs ?? (isAsync ? ASYNC_WAIT_MS : parts.clientTimeoutMs)
  const now = performance.now()
  return {
    ...request,
    key,
    name: isIdempotent ? idempotencyName(caller.team.id, idempotencyKey) : key,
    scope,
    mustBuy,
    isIdempotent,
    isAcceptable: isIdempotent
      ? result => parts.now() - result.storedAt < REPLAY_SECONDS * 1000
      : result => isFreshEnough(result, cache, parts),
    deadline: now + Math.min(waitMs, parts.clientTimeoutMs),
    latestDeadline: now + parts.clientTimeoutMs,
  }
}

/**
 * Throws `idempotency_key_reused` when the result under an `Idempotency-Key` belongs to another
 * request.
 */
export function checkReplay({ key }: KeyedRequest, result: Result): void {
  if (result.answers !== key) throw idempotencyKeyReused()
}

export function idempotencyKeyReused(): GatewayError {
  return new GatewayError(
    'idempotency_key_reused',
    'This Idempotency-Key was used for another image or other parameters; use a new key for each request.',
  )
}

/** Keeps an uploaded, checked image in the background, so that later requests may name it by id. */
export function keepImage({ image, scope, cache, caller }: KeyedRequest, { images }: PipelineParts): void {
  if (image.uploaded && !cache.noStore) void images.keep(scope, image.uploaded, caller.team.id)
}

/**
 * Returns the uploaded image, or the one the gateway holds under the id. Throws `unknown_image`, or
 * `overloaded` when there is no memory for it.
 */
export async function bytesOf(
  request: Pick<KeyedRequest, 'image' | 'scope' | 'holdBuffer'>,
  { images }: Pick<PipelineParts, 'images'>,
): Promise<ImageBytes> {
  const { image, scope } = request
  if (image.uploaded) return image.uploaded
  const found = await images.find(scope, image.digest)
  if (!found) throw unknownImage(image.digest)
  for (const chunk of found.chunks) request.holdBuffer?.(chunk)
  return found
}

export function unknownImage(digest: Digest): GatewayError {
  return new GatewayError('unknown_image', `The gateway does not hold the image sha256:${digest}; send its bytes.`)
}

/**
 * Names the purchase of a team's `Idempotency-Key`. The name equals no cache key, and no other
 * team's name.
 */
function idempotencyName(team: string, idempotencyKey: string): string {
  const text = JSON.stringify([team, idempotencyKey])
  return `once:${createHash('sha256').update(text).digest('hex')}`
}
