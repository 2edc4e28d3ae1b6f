import { defined } from '../contracts/defined.js'
import { GatewayError } from '../contracts/errors.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import type { CacheKey, Frame, Team } from '../contracts/types.js'
import { bytesOf, checkReplay, type KeyedRequest, keyRequest, type SegmentRequest } from './keyed-request.js'
import { isServableStale, lookUp } from './lookup.js'
import type { ForecastQueue, How, PipelineParts, QueueForecast } from './ports.js'
import { frameOf } from './shape.js'

/** The pipeline's parts, and what only a quote needs. */
export interface QuoteParts extends PipelineParts {
  /** Expected cost of a call. */
  estimate(): Nanocredits
  /**
   * The error with which a purchase by this team would be refused now for lack of credits or
   * budget. Never rejects.
   */
  wouldRefuse(team: Team, imageBytes: number): Promise<GatewayError | undefined>
  /** The queue for slots as a new interactive request of this team would find it. */
  queue: ForecastQueue
}

/** Forecast of `POST /segment`. */
export interface Quote {
  key: CacheKey
  wouldBe: How
  /** Expected charge: 0 unless it buys. */
  cost: Nanocredits
  /**
   * Size and orientation of the photo in which points and masks are; absent where neither is at
   * hand.
   */
  frame?: Frame
  /** The error it would fail with, if any. */
  refusal?: GatewayError
  queue: QueueForecast
}

/**
 * Forecasts the outcome of the same request to `segment`. Spends, reserves and keeps nothing.
 * Throws the errors of the request itself, including those of an image that would be sent.
 */
export async function quote(request: SegmentRequest, parts: QuoteParts): Promise<Quote> {
  const queue = await parts.queue(request.caller.team)
  return { ...(await forecast(request, queue, parts)), queue }
}

async function forecast(
  request: SegmentRequest,
  queue: QueueForecast,
  parts: QuoteParts,
): Promise<Omit<Quote, 'queue'>> {
  const keyed = keyRequest(request, parts)
  const { key, mustBuy, isIdempotent } = keyed
  const { hit, result: known } = mustBuy && !isIdempotent ? {} : await lookUp('first', keyed, parts.results)
  if (hit) {
    if (isIdempotent) checkReplay(keyed, hit)
    return { key, wouldBe: 'hit', cost: 0, ...defined({ frame: await frameOf(hit, keyed.image.uploaded, parts) }) }
  }
  if (request.cache.onlyIfCached) {
    const refusal = new GatewayError('not_cached', 'The result is not cached, and only-if-cached forbids a purchase.')
    return { key, wouldBe: 'miss', cost: 0, refusal }
  }
  const image = await readImage(keyed, parts)
  const framed = { key, ...defined({ frame: image.frame }) }
  if (await isInFlight(keyed, parts)) return { ...framed, wouldBe: 'coalesced', cost: 0 }
  const refusal = image.refusal ?? (await refusalOf(keyed, image.byteLength, queue, parts))
  if (refusal && known && !mustBuy && isServableStale(known, refusal, parts))
    return { ...framed, wouldBe: 'stale', cost: 0 }
  const cost = refusal ? 0 : parts.estimate()
  return { ...framed, wouldBe: mustBuy ? 'bypass' : 'miss', cost, ...defined({ refusal }) }
}

/** Tells whether an identical request is in flight, here or in another process. */
async function isInFlight({ name, mustBuy, isIdempotent }: KeyedRequest, parts: QuoteParts): Promise<boolean> {
  if (mustBuy ? !isIdempotent : !parts.coalesce) return false
  if (parts.flights.leaderOf(name) !== undefined) return true
  const flight = await parts.leases.look(name)
  return flight !== undefined && !flight.outcome && !flight.isDead
}

/** Reads the image's header. Throws the errors of the image; one that is missing is a refusal. */
async function readImage(
  request: KeyedRequest,
  parts: QuoteParts,
): Promise<{ byteLength: number; frame?: Frame; refusal?: GatewayError }> {
  const bytes = await bytesOf(request, parts).catch(asUnknownImage)
  if (bytes instanceof GatewayError) return { byteLength: 0, refusal: bytes }
  const { frame } = await parts.checkImage(bytes, request.params)
  return { byteLength: bytes.byteLength, frame }
}

/** Returns the first refusal, in the order of `buy`. */
async function refusalOf(
  request: KeyedRequest,
  imageBytes: number,
  queue: QueueForecast,
  parts: QuoteParts,
): Promise<GatewayError | undefined> {
  return (
    refusalBy(() => request.mustBuy || parts.paidFailures.admit(request.key)) ??
    (await parts.wouldRefuse(request.caller.team, imageBytes)) ??
    refusalBy(() => parts.upstream.admit()) ??
    queue.refusal
  )
}

/** An image that is missing is part of the forecast; every other error ends the quote. */
function asUnknownImage(error: unknown): GatewayError {
  if (error instanceof GatewayError && error.code === 'unknown_image') return error
  throw error
}

function refusalBy(admit: () => unknown): GatewayError | undefined {
  try {
    admit()
    return undefined
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
}
