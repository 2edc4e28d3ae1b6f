import { randomUUID } from 'node:crypto'
import { GatewayError } from '../errors.js'
import {
  asFollower,
  chargeOf,
  free,
  inPatience,
  isAcceptable,
  isLeadersOwn,
  isServableStale,
  type Purchase,
  toResult,
  withCharge,
} from './acceptance.js'
import { cacheKey } from './cache-key.js'
import type {
  CheckImage,
  Flights,
  How,
  Images,
  Journal,
  Ledger,
  Reservation,
  Results,
  Turns,
  Upstream,
  UpstreamFailure,
} from './ports.js'
import type { CacheDirectives, CacheKey, Caller, Digest, ImageBytes, Params, Result } from './types.js'

/** One question of one caller, parsed: what to select in which image. */
export interface SegmentRequest {
  requestId: string
  caller: Caller
  image: RequestedImage
  params: Params
  cache: CacheDirectives
  /** Told of work that needs the image's bytes even when the caller has left: the purchase this request leads. */
  holdUntil?(work: Promise<unknown>): void
}

/** The image of a request: its bytes when they came along, else only its id. */
export interface RequestedImage {
  digest: Digest
  uploaded?: ImageBytes
}

export interface SegmentAnswer {
  how: How
  key: CacheKey
  result: Result
  /** Charged to this team for this request: 0 unless this very request was the purchase. */
  charged: Result['cost']
  /** Whether the next identical request will find it. */
  stored: boolean
  /** Where the time went, milliseconds. */
  timing: { cacheMs: number; queueMs: number; upstreamMs: number }
}

/** The parts a request meets on its way, and the few settings that decide it. */
export interface PipelineParts {
  results: Results
  images: Images
  flights: Flights<Purchase>
  checkImage: CheckImage
  ledger: Ledger
  turns: Turns
  upstream: Upstream
  journal: Journal
  /** Milliseconds since 1970. */
  now(): number
  /** `CACHE_TTL_SECONDS` and `STALE_SECONDS`. */
  freshSeconds: number
  staleSeconds: number
  /** `CLIENT_TIMEOUT_MS`: how long a caller waits for a purchase. */
  patienceMs: number
  /** `CACHE_SCOPE`: `team` keeps the results and images of each team apart. */
  cacheScope: 'shared' | 'team'
}

/**
 * Answers one question: from what was paid for before, else together with whoever is asking the same right now, else by buying it.
 * Throws the errors of SPEC §6; whatever was paid is booked and kept even when the caller has left.
 */
export async function segment(request: SegmentRequest, parts: PipelineParts): Promise<SegmentAnswer> {
  const scope = parts.cacheScope === 'team' ? request.caller.team.id : ''
  const key = cacheKey(request.image.digest, request.params, scope)
  const isWanted = (result: Result) => isAcceptable(result, request.cache, parts)
  const question: Question = { ...request, scope, key, isWanted }
  const { noCache, noStore, onlyIfCached } = request.cache
  const mustBuy = (noCache || noStore) && !onlyIfCached

  // 1. An answer that was paid for once, by anybody, is free.
  const askedAt = performance.now()
  const known = mustBuy ? undefined : await parts.results.find(question.key, isWanted)
  const cacheMs = performance.now() - askedAt
  if (known && isWanted(known)) {
    keepImage(question, parts)
    return finish('hit', free(known), cacheMs, question, parts)
  }
  if (onlyIfCached)
    throw new GatewayError('not_cached', 'There is no cached answer, and only-if-cached forbids to buy one.')

  // 2. Otherwise it is bought: by this request, or by the identical one that is buying it already.
  try {
    const { how, purchase } = mustBuy ? await boughtAlone(question, parts) : await boughtTogether(question, parts)
    return finish(how, purchase, cacheMs, question, parts)
  } catch (error) {
    // 3. Where it cannot be bought, an answer past its time is better than none.
    if (!known || !isServableStale(known, error, parts)) throw error
    return finish('stale', { ...free(known), charged: chargeOf(error) }, cacheMs, question, parts)
  }
}

/** A request together with the name of its answer. */
interface Question extends SegmentRequest {
  key: CacheKey
  /** The team under `CACHE_SCOPE=team`, else empty. */
  scope: string
  isWanted(result: Result): boolean
}

/** Buys for this request (`no-cache`, `no-store`), whoever else is buying; others may follow a purchase that is kept. */
async function boughtAlone(question: Question, parts: PipelineParts): Promise<{ how: How; purchase: Purchase }> {
  const { key, caller, cache } = question
  const begin = () => buy(question, parts)
  const landed = cache.noStore ? parts.flights.alone(begin) : parts.flights.lead(key, caller.team.id, begin)
  question.holdUntil?.(landed)
  return { how: 'bypass', purchase: await inPatience(landed, parts.patienceMs) }
}

/** Leads the purchase, or follows the flight of an identical request; waits at most the caller's patience in all. */
async function boughtTogether(question: Question, parts: PipelineParts): Promise<{ how: How; purchase: Purchase }> {
  const deadline = performance.now() + parts.patienceMs
  const team = question.caller.team.id
  for (;;) {
    const joinedAt = performance.now()
    const flight = parts.flights.join(question.key, team, () => lookAgainThenBuy(question, parts))
    const landed = inPatience(flight.landed, deadline - performance.now())
    if (flight.role === 'leader') {
      question.holdUntil?.(flight.landed)
      const purchase = await landed
      return { how: purchase.bought ? 'miss' : 'hit', purchase }
    }
    // A leader that failed for reasons of its own (another team's budget, an id without bytes), or that was content with
    // an older answer than this caller wants, decides nothing for the others: they ask again, one of them leading.
    const { purchase, error } = await landed.then(
      purchase => ({ purchase, error: undefined }),
      (error: unknown) => ({ purchase: undefined, error }),
    )
    if (!purchase) {
      if (!isLeadersOwn(error, flight.leader === team)) throw asFollower(error)
    } else if (purchase.bought || question.isWanted(purchase.result)) {
      const upstreamMs = performance.now() - joinedAt
      return { how: 'coalesced', purchase: { ...free(purchase.result), stored: purchase.stored, upstreamMs } }
    }
  }
}

/**
 * Looks once more before paying. The race it ends: A looks (miss) · B lands the purchase, stores it and leaves the flight ·
 * A, finding no flight, leads a new one and would pay again.
 */
async function lookAgainThenBuy(question: Question, parts: PipelineParts): Promise<Purchase> {
  const known = await parts.results.find(question.key, question.isWanted)
  return known && question.isWanted(known) ? free(known) : buy(question, parts)
}

/** Spends money: check, reserve, wait for a turn, call, book, keep. The only way to Segmind. */
async function buy(question: Question, parts: PipelineParts): Promise<Purchase> {
  const { caller, requestId, key, params } = question
  const image = await bytesOf(question, parts)
  await parts.checkImage(image, params)
  keepImage(question, parts)
  const reservation = await parts.ledger.reserve({ callId: randomUUID(), caller, requestId, cacheKey: key })
  const turn = await orRelease(parts.turns.take(caller), reservation)
  const calledAt = performance.now()
  const outcome = await call(image, params, reservation, parts).finally(turn.done)
  const upstreamMs = performance.now() - calledAt
  if (outcome.kind === 'failed') throw await booked(outcome, reservation)
  const charged = await reservation.settle(outcome.bill)
  const result = toResult(outcome, charged, parts.now())
  const stored = question.cache.noStore ? false : await parts.results.keep(key, result)
  return { result, bought: true, charged, stored, queueMs: turn.waitedMs, upstreamMs }
}

/** Asks Segmind. It answers failures and throws none; a bug that throws all the same may have cost something. */
async function call(image: ImageBytes, params: Params, reservation: Reservation, parts: PipelineParts) {
  try {
    return await parts.upstream.segment(image, params)
  } catch (error) {
    await reservation.unknown()
    throw error
  }
}

/** Books what a failed call cost, by what is known of it. */
async function booked({ error, bill }: UpstreamFailure, reservation: Reservation): Promise<GatewayError> {
  if (error.billed === 'no') await reservation.release(bill)
  if (error.billed === 'unknown') await reservation.unknown(bill)
  return error.billed === 'yes' ? withCharge(error, await reservation.settle(bill)) : error
}

/** The bytes that came along, or those the gateway holds under the id. */
async function bytesOf(question: Question, parts: PipelineParts): Promise<ImageBytes> {
  const { digest, uploaded } = question.image
  if (uploaded) return uploaded
  const held = await parts.images.find(question.scope, digest)
  if (!held)
    throw new GatewayError('unknown_image', `The gateway does not hold the image sha256:${digest}; send its bytes.`)
  return held
}

/** Keeps an image that came along and is known to be good, so that the next request may name it by its id; nobody waits for that. */
function keepImage({ image, scope, cache }: Question, parts: PipelineParts): void {
  if (image.uploaded && !cache.noStore) void parts.images.keep(scope, image.uploaded)
}

async function orRelease<T>(step: Promise<T>, reservation: Reservation): Promise<T> {
  try {
    return await step
  } catch (error) {
    await reservation.release()
    throw error
  }
}

function finish(
  how: How,
  purchase: Purchase,
  cacheMs: number,
  question: Question,
  parts: PipelineParts,
): SegmentAnswer {
  const { result, charged, stored, queueMs, upstreamMs } = purchase
  parts.journal.answered(question.caller.team, how, result.cost)
  return { how, key: question.key, result, charged, stored, timing: { cacheMs, queueMs, upstreamMs } }
}
