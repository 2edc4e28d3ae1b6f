import { GatewayError } from '../errors.js'
import { chargeOf, free, inPatience, isServableStale, isSlow } from './acceptance.js'
import { type Bought, boughtAlone, boughtTogether } from './flight.js'
import { look } from './look.js'
import type { How, PipelineParts, Purchase } from './ports.js'
import { keepImage } from './purchase.js'
import { checkReplay, type Question, type SegmentRequest, toQuestion } from './question.js'
import type { CacheKey, Result } from './types.js'

export interface SegmentAnswer {
  how: How
  key: CacheKey
  result: Result
  /** Charged to this team for this request: 0 unless this very request was the purchase. */
  charged: Result['cost']
  /** Whether the next identical request will find it. */
  stored: boolean
  /** It was bought before for the same `Idempotency-Key`. */
  isReplay: boolean
  /** Where the time went, milliseconds. */
  timing: { cacheMs: number; queueMs: number; upstreamMs: number }
}

/** The purchase goes on; its answer can be fetched by its id (`Prefer: respond-async`). */
export interface Accepted {
  how: 'accepted'
  key: CacheKey
}

/**
 * Answers one question: from what was paid for before, else together with whoever is asking the same right now, else by buying it.
 * Throws the errors of SPEC §6; whatever was paid is booked and kept even when the caller has left.
 */
export async function segment(request: SegmentRequest, parts: PipelineParts): Promise<SegmentAnswer | Accepted> {
  const question = toQuestion(request, parts)
  const { isWanted, mustBuy, isOnce } = question

  // 1. An answer that was paid for once, by anybody, is free.
  const askedAt = performance.now()
  const known = mustBuy && !isOnce ? undefined : await look('first', question, parts)
  const cacheMs = performance.now() - askedAt
  if (known && isWanted(known)) {
    keepImage(question, parts)
    return finish({ how: 'hit', purchase: free(known) }, cacheMs, question, parts)
  }
  if (request.cache.onlyIfCached)
    throw new GatewayError('not_cached', 'There is no cached answer, and only-if-cached forbids to buy one.')

  // 2. Otherwise it is bought: by this request, or by the identical one that is buying it already.
  try {
    const isShared = mustBuy ? isOnce : parts.coalesce
    const bought = isShared ? await pursued(question, parts) : await boughtAlone(question, parts)
    return finish(bought, cacheMs, question, parts)
  } catch (error) {
    // 3. Whoever would rather come back for it is told where; whoever waits gets an answer past its time, which is better than none.
    if (isSlow(error) && canFetchLater(question, known, parts)) return { how: 'accepted', key: question.key }
    if (!known || mustBuy || !isServableStale(known, error, parts)) throw error
    const purchase = { ...free(known), charged: chargeOf(error) }
    return finish({ how: 'stale', purchase }, cacheMs, question, parts)
  }
}

/**
 * Whoever would rather come back waits a moment only, but is promised an answer: what it asked for is pursued to its end without it. The
 * race it ends: A, who names an image without bytes, leads · B brings them, follows, and goes · A's flight fails, and nobody would lead B's.
 */
function pursued(question: Question, parts: PipelineParts): Promise<Bought> {
  if (!question.prefer?.respondAsync) return boughtTogether(question, parts)
  const name = `${question.caller.team.id} ${question.name}`
  const hasBytes = question.image.uploaded !== undefined
  const standing = parts.pursuits.get(name)
  // For one team one is enough: it ends as all of them would. Another would only hold the same bytes once more.
  if (standing && (standing.hasBytes || !hasBytes)) {
    standing.endsAt = Math.max(standing.endsAt, question.patienceEndsAt)
    return boughtTogether(question, parts)
  }
  const pursuing = { ...question, hasBytes, endsAt: question.patienceEndsAt }
  parts.pursuits.set(name, pursuing)
  const pursuit = boughtTogether(pursuing, parts)
  const end = () => parts.pursuits.get(name) === pursuing && parts.pursuits.delete(name)
  pursuit.then(end, end)
  question.holdUntil?.(pursuit)
  question.story?.began(pursuit)
  return inPatience(pursuit, question.endsAt)
}

/** Under its id the caller would find what is bought now, and not an answer that it does not want. */
function canFetchLater({ prefer, mustBuy }: Question, known: Result | undefined, parts: PipelineParts): boolean {
  const isFresh = known !== undefined && parts.now() - known.storedAt < parts.freshSeconds * 1000
  return prefer?.respondAsync === true && !mustBuy && parts.coalesce && !isFresh
}

function finish(
  { how, purchase }: { how: How; purchase: Purchase },
  cacheMs: number,
  question: Question,
  parts: PipelineParts,
): SegmentAnswer {
  const { result, charged, stored, queueMs, upstreamMs } = purchase
  checkReplay(question, result)
  const isReplay = question.isOnce && !purchase.bought
  parts.journal.answered({ team: question.caller.team, how, resultId: question.key, result })
  return { how, key: question.key, result, charged, stored, isReplay, timing: { cacheMs, queueMs, upstreamMs } }
}
