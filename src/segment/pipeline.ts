import { GatewayError } from '../contracts/errors.js'
import type { CacheKey, Result } from '../contracts/types.js'
import { chargeOf, isClientTimeout, withClientDeadline } from './failures.js'
import { type PurchaseOutcome, purchaseAlone, purchaseShared } from './flight.js'
import { checkReplay, type KeyedRequest, keepImage, keyRequest, type SegmentRequest } from './keyed-request.js'
import { cached, isFresh, isServableStale, lookUp } from './lookup.js'
import type { How, PipelineParts, Purchase, QueuePlace } from './ports.js'
import { queuePlaceOf } from './result-lookup.js'

export interface SegmentAnswer {
  how: How
  key: CacheKey
  result: Result
  /** Charged to this team for this request: 0 unless this request made the purchase. */
  charged: Result['cost']
  /** True when the cache holds the result, so that the next identical request is a hit. */
  stored: boolean
  /** True when the result was bought earlier under the same `Idempotency-Key`. */
  isReplay: boolean
  /** Milliseconds. */
  timing: { cacheMs: number; queueMs: number; upstreamMs: number }
}

/**
 * The purchase continues in the background; its result can be fetched by its id (`Prefer:
 * respond-async`).
 */
export interface Accepted {
  how: 'accepted'
  key: CacheKey
  /** Present while the purchase waits for a slot in this process. */
  queue?: QueuePlace
}

/**
 * Answers one request: from the cache, else together with an identical request in flight, else by
 * buying the result. Throws the errors of docs/reference.md, Errors. A paid result is booked and
 * kept even when the caller has left.
 */
export async function segment(request: SegmentRequest, parts: PipelineParts): Promise<SegmentAnswer | Accepted> {
  const keyed = keyRequest(request, parts)
  const { mustBuy, isIdempotent } = keyed

  // 1. A cached result is free, whichever team paid for it.
  const startedAt = performance.now()
  const { hit, result: known } = mustBuy && !isIdempotent ? {} : await lookUp('first', keyed, parts.results)
  const cacheMs = performance.now() - startedAt
  if (hit) {
    keepImage(keyed, parts)
    return finish({ how: 'hit', purchase: cached(hit) }, cacheMs, keyed, parts)
  }
  if (request.cache.onlyIfCached)
    throw new GatewayError('not_cached', 'The result is not cached, and only-if-cached forbids a purchase.')

  // 2. A miss is bought once: by this request, or by an identical one already in flight. Without a
  // hold, its image could be freed while the purchase reads it.
  if (!request.holdUntil) delete request.image.uploaded?.release
  try {
    const isShared = mustBuy ? isIdempotent : parts.coalesce
    const isAsync = request.prefer?.respondAsync
    const purchase = !isShared ? purchaseAlone : isAsync ? purchaseInBackground : purchaseShared
    return finish(await purchase(keyed, parts), cacheMs, keyed, parts)
  } catch (error) {
    // 3. An asynchronous caller fetches the result later; any other caller may get a stale result
    // instead of the failure.
    if (isClientTimeout(error) && canFetchLater(keyed, known, parts))
      return { how: 'accepted', key: keyed.key, ...queuePlaceOf(keyed.name, parts) }
    if (!known || mustBuy || !isServableStale(known, error, parts)) throw error
    const purchase = { ...cached(known), charged: chargeOf(error) }
    return finish({ how: 'stale', purchase }, cacheMs, keyed, parts)
  }
}

/**
 * Leads or follows the flight of a `respond-async` request. Its caller waits only a moment, so the
 * request continues in the background until there is a result. Without that, this race loses the
 * promised result: A names an image by id without its bytes and leads · B brings the bytes, follows
 * A, and leaves with a 202 · A's flight fails with `unknown_image`, and no request is left to lead
 * B's purchase.
 */
function purchaseInBackground(request: KeyedRequest, parts: PipelineParts): Promise<PurchaseOutcome> {
  const name = `${request.caller.team.id} ${request.name}`
  const hasBytes = request.image.uploaded !== undefined
  const running = parts.backgroundPurchases.get(name)
  // One background purchase serves all requests of a team. A second one would only hold the same
  // bytes again.
  if (running && (running.hasBytes || !hasBytes)) {
    running.deadline = Math.max(running.deadline, request.latestDeadline)
    return purchaseShared(request, parts)
  }
  // Its callers fetch the result later, so none of them can leave it.
  const { onGone: _stays, ...staying } = request
  const background = { ...staying, hasBytes, deadline: request.latestDeadline }
  parts.backgroundPurchases.set(name, background)
  const purchase = purchaseShared(background, parts)
  const end = () => parts.backgroundPurchases.get(name) === background && parts.backgroundPurchases.delete(name)
  purchase.then(end, end)
  request.holdUntil?.(purchase)
  request.story?.recordWork(purchase)
  return withClientDeadline(purchase, request.deadline)
}

/** False where the id would lead to an older result that the caller has just declined. */
function canFetchLater({ prefer, mustBuy }: KeyedRequest, known: Result | undefined, parts: PipelineParts): boolean {
  const hasFresh = known !== undefined && isFresh(known, parts)
  return prefer?.respondAsync === true && !mustBuy && parts.coalesce && !hasFresh
}

function finish(
  { how, purchase }: { how: How; purchase: Purchase },
  cacheMs: number,
  request: KeyedRequest,
  parts: PipelineParts,
): SegmentAnswer {
  const { result, charged, stored, queueMs, upstreamMs } = purchase
  if (request.isIdempotent) checkReplay(request, result)
  const isReplay = request.isIdempotent && !purchase.bought
  const { team } = request.caller
  parts.observer.resultAnswered(team.id, how, result.cost)
  parts.journal.answered({ team, how, resultId: request.key, result })
  return { how, key: request.key, result, charged, stored, isReplay, timing: { cacheMs, queueMs, upstreamMs } }
}
