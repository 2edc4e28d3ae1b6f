import { GatewayError } from '../contracts/errors.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import type { CacheKey, Team } from '../contracts/types.js'
import { bytesOf, checkReplay, type KeyedRequest, keyRequest, type SegmentRequest } from './keyed-request.js'
import { isServableStale, lookUp } from './lookup.js'
import type { ForecastQueue, How, PipelineParts, QueueForecast } from './ports.js'

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
    return { key, wouldBe: 'hit', cost: 0 }
  }
  if (request.cache.onlyIfCached) {
    const refusal = new GatewayError('not_cached', 'The result is not cached, and only-if-cached forbids a purchase.')
    return { key, wouldBe: 'miss', cost: 0, refusal }
  }
  if (await isInFlight(keyed, parts)) return { key, wouldBe: 'coalesced', cost: 0 }
  const refusal = await refusalOf(keyed, queue, parts)
  if (refusal && known && !mustBuy && isServableStale(known, refusal, parts)) return { key, wouldBe: 'stale', cost: 0 }
  const cost = refusal ? 0 : parts.estimate()
  return { key, wouldBe: mustBuy ? 'bypass' : 'miss', cost, ...(refusal && { refusal }) }
}

/** Tells whether an identical request is in flight, here or in another process. */
async function isInFlight({ name, mustBuy, isIdempotent }: KeyedRequest, parts: QuoteParts): Promise<boolean> {
  if (mustBuy ? !isIdempotent : !parts.coalesce) return false
  if (parts.flights.leaderOf(name) !== undefined) return true
  const flight = await parts.leases.look(name)
  return flight !== undefined && !flight.outcome && !flight.isDead
}

/** Returns the first refusal, in the order of `buy`. Throws the errors of the image. */
async function refusalOf(
  request: KeyedRequest,
  queue: QueueForecast,
  parts: QuoteParts,
): Promise<GatewayError | undefined> {
  const bytes = await bytesOf(request, parts).catch(asUnknownImage)
  if (bytes instanceof GatewayError) return bytes
  await parts.checkImage(bytes, request.params)
  return (
    refusalBy(() => request.mustBuy || parts.paidFailures.admit(request.key)) ??
    (await parts.wouldRefuse(request.caller.team, bytes.byteLength)) ??
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
