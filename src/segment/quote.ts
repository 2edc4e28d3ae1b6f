import { GatewayError } from '../errors.js'
import type { Nanocredits } from '../nanocredits.js'
import { isServableStale } from './acceptance.js'
import { look } from './look.js'
import type { How, PipelineParts } from './ports.js'
import { checkReplay, type Question, type SegmentRequest, toQuestion } from './question.js'
import type { CacheKey, Team } from './types.js'

/** What a quote asks beside the pipeline. */
export interface QuoteParts extends PipelineParts {
  /** What a call is expected to cost. */
  estimate(): Nanocredits
  /** What a purchase by this team would be refused with now for want of credits or budget. Never rejects. */
  wouldRefuse(team: Team): Promise<GatewayError | undefined>
  /** The queue for Segmind: what waits, how long that takes where it is known, and the refusal where it is full. */
  queue(team: Team): { depth: number; waitMs?: number; refusal?: GatewayError }
}

/** What `POST /segment` would answer now. */
export interface Quote {
  key: CacheKey
  wouldBe: How
  /** What it would be charged: 0 unless it buys. */
  cost: Nanocredits
  /** What it would be refused with; nothing where it would be answered. */
  refusal?: GatewayError
}

/**
 * Says what the same request to `segment` would come to, and spends nothing: it reserves, leads and keeps nothing. Throws what is wrong with the
 * request itself, the image included where it would be sent.
 */
export async function quote(request: SegmentRequest, parts: QuoteParts): Promise<Quote> {
  const question = toQuestion(request, parts)
  const { key, isWanted, mustBuy, isOnce } = question
  const known = mustBuy && !isOnce ? undefined : await look('first', question, parts)
  if (known && isWanted(known)) {
    checkReplay(question, known)
    return { key, wouldBe: 'hit', cost: 0 }
  }
  if (request.cache.onlyIfCached) {
    const refusal = new GatewayError('not_cached', 'There is no cached answer, and only-if-cached forbids to buy one.')
    return { key, wouldBe: 'miss', cost: 0, refusal }
  }
  if (await isUnderWay(question, parts)) return { key, wouldBe: 'coalesced', cost: 0 }
  const refusal = await refusalOf(question, parts)
  if (refusal && known && !mustBuy && isServableStale(known, refusal, parts)) return { key, wouldBe: 'stale', cost: 0 }
  const cost = refusal ? 0 : parts.estimate()
  return { key, wouldBe: mustBuy ? 'bypass' : 'miss', cost, ...(refusal && { refusal }) }
}

/** Whether an identical request is buying it, here or in another process. */
async function isUnderWay({ name, mustBuy, isOnce }: Question, parts: QuoteParts): Promise<boolean> {
  if (mustBuy ? !isOnce : !parts.coalesce) return false
  if (parts.flights.leaderOf(name) !== undefined) return true
  const flight = await parts.leases.look(name)
  return flight !== undefined && !flight.landing
}

/** In the order in which `buy` meets them. Throws what is wrong with the image. */
async function refusalOf(question: Question, parts: QuoteParts): Promise<GatewayError | undefined> {
  const { caller, image, scope, params } = question
  const bytes = image.uploaded ?? (await parts.images.find(scope, image.digest))
  if (!bytes)
    return new GatewayError(
      'unknown_image',
      `The gateway does not hold the image sha256:${image.digest}; send its bytes.`,
    )
  await parts.checkImage(bytes, params)
  return (await parts.wouldRefuse(caller.team)) ?? upstreamRefusal(parts) ?? parts.queue(caller.team).refusal
}

function upstreamRefusal({ upstream }: QuoteParts): GatewayError | undefined {
  try {
    upstream.admit()
    return undefined
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
}
