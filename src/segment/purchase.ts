import { withDeadline } from '../contracts/deadline.js'
import { defined } from '../contracts/defined.js'
import { GatewayError } from '../contracts/errors.js'
import { etagOf } from '../contracts/etag.js'
import type { CacheKey, Photo, PixelDigest, Result } from '../contracts/types.js'
import { cacheKey, pixelKey } from './cache-key.js'
import { callInSlot, type LeaderContext } from './call.js'
import { forFollower, withCharge } from './failures.js'
import { bytesOf, idempotencyKeyReused, type KeyedRequest, keepImage, REPLAY_SECONDS } from './keyed-request.js'
import { cached } from './lookup.js'
import { checkFit, questionOf } from './picture-fit.js'
import type {
  EarlierCall,
  FlightNote,
  PipelineParts,
  Purchase,
  Reservation,
  UpstreamFailure,
  UpstreamPicture,
  WriteState,
} from './ports.js'
import { timed } from './story.js'

/** Age up to which Segmind surely still knows a job. */
export const JOB_AGE_MS = 55 * 60_000

/**
 * Buys a result: checks the image, reserves credits, waits for a slot, calls Segmind, books the
 * cost and keeps the result. Continues an earlier leader's job first, if there is one. Nothing else
 * in the gateway spends credits.
 */
export async function buy(request: KeyedRequest, leader: LeaderContext, parts: PipelineParts): Promise<Purchase> {
  const inherited = leader.earlier && (await resumeEarlierCall(request, leader, parts))
  if (inherited) return inherited
  const { caller, requestId, key, params, story } = request
  const image = await bytesOf(request, parts)
  const { photo } = await timed(story, 'check image', parts.checkImage(image, params))
  keepImage(request, parts)
  if (!request.mustBuy) parts.paidFailures.admit(key)
  parts.account.gate.admit(caller.team, image.byteLength)
  parts.upstream.admit()
  const { callId, at } = leader.note
  if (story) story.balanceBefore = parts.account.balance.latest?.remaining
  const { purchase } = leader
  const outgoing = parts.stripMetadata?.(image) ?? image
  const sent = { width: photo.width, height: photo.height, bytes: outgoing.byteLength }
  const sentKey = outgoing === image ? undefined : cacheKey(outgoing.digest, params, request.scope)
  const planned = { callId, at, caller, requestId, cacheKey: key, purchase, image: sent, ...defined({ sentKey }) }
  const reservation = await timed(story, 'reserve', parts.ledger.reserve(planned))
  if (story) story.call = { callId, at, purchase }
  const { queueMs, upstreamMs, pixels, ...called } = await callInSlot(outgoing, request, { leader, reservation }, parts)
  if (story) story.queueMs = queueMs
  if (called.outcome.kind === 'found') return { ...cached(called.outcome.result), queueMs, upstreamMs }
  const outcome = checkFit(called.outcome, { photo, params, image: outgoing }, parts)
  if (story) story.balanceAfter = outcome.bill.remaining
  if (pixels) await describePixels(request, reservation, pixels)
  if (outcome.kind === 'failed') {
    const { billed, code } = outcome.error
    if (billed !== 'unknown') leader.openJob = undefined
    if (billed === 'yes') parts.paidFailures.failed(key)
    const error = await bookFailure(outcome, reservation)
    if (code !== 'credits_exhausted') throw error
    throw await parts.account.gate.refused(error, caller.team, image.byteLength)
  }
  leader.openJob = undefined
  // A mask may still turn out to be none, when it is decoded for another form.
  if (params.overlayMask) parts.paidFailures.succeeded(key)
  const cost = await reservation.costOf(outcome.bill)
  const known = { cost, storedAt: parts.now(), boughtBy: caller.team.id, ...describe(request, photo) }
  const result = toResult(outcome, known)
  // Both at once. A process killed between them would leave a paid result without an entry, or an
  // entry without a result.
  const both = Promise.all([keep(request, result, parts), reservation.settle(outcome.bill)])
  const [kept, charged] = await timed(story, 'book and keep', both)
  const by = { team: caller.team.id, callId, at, requestId }
  return { ...kept, result, bought: true, by, charged, queueMs, upstreamMs }
}

/** Longest time a paid result waits for its pixel digest. */
const PIXELS_WAIT_MS = 2_000

async function describePixels(
  { params, scope }: KeyedRequest,
  reservation: Reservation,
  digest: Promise<PixelDigest | undefined>,
): Promise<void> {
  const pixels = await withDeadline(digest, PIXELS_WAIT_MS, () => undefined)
  if (pixels) reservation.describe({ pixelKey: pixelKey(pixels, params, scope) })
}

/** A call whose process is gone, as the ledger has it. */
export interface Orphan {
  call: EarlierCall
  cacheKey: CacheKey
  /** False when the request said `no-store`. */
  isKept: boolean
}

/**
 * Settles the call of a dead process: polls its job, books the cost and keeps the result. Failures
 * are only booked.
 */
export async function settleOrphan({ call, cacheKey, isKept }: Orphan, parts: PipelineParts): Promise<void> {
  if (call.jobId === undefined) return call.reservation.unknown()
  const outcome = await parts.upstream.resume(call.jobId)
  // Segmind is still working on it. The next sweep polls again, until the job is too old.
  if (outcome.kind === 'failed' && outcome.error.code === 'upstream_timeout') return
  if (outcome.kind === 'failed') return void (await bookFailure(outcome, call.reservation))
  const scope = parts.cacheScope === 'team' ? { scope: call.team } : {}
  const cost = await call.reservation.costOf(outcome.bill)
  const result = toResult(outcome, { cost, storedAt: parts.now(), boughtBy: call.team, ...scope })
  await Promise.all([isKept && parts.results.keep(cacheKey, result), call.reservation.settle(outcome.bill)])
}

/**
 * Continues where an earlier leader stopped. Polls its job instead of submitting another; books a
 * call that may have been sent as unknown. Returns undefined where the result has to be bought
 * again.
 */
async function resumeEarlierCall(
  request: KeyedRequest,
  leader: LeaderContext,
  parts: PipelineParts,
): Promise<Purchase | undefined> {
  // Until the ledger has answered, a failure here leaves the open job to the next leader.
  leader.openJob = leader.earlier
  const [note, call] = (await findEarlierCall(leader, parts)) ?? []
  leader.openJob = undefined
  if (!note || !call) return undefined
  if (call.jobId === undefined || parts.now() - call.at > JOB_AGE_MS) {
    if (call.state === 'reserved') await call.reservation.unknown()
    return undefined
  }
  leader.openJob = note
  // Possible only under an Idempotency-Key, where the job belongs to the key's first request.
  if (call.cacheKey !== request.key) throw idempotencyKeyReused()
  const startedAt = performance.now()
  const question = await questionOf(request, parts)
  const outcome = checkFit(await parts.upstream.resume(call.jobId), question, parts)
  if (outcome.kind === 'failed') return rejectEarlierOutcome(outcome, leader, call)
  const cost = await call.reservation.costOf(outcome.bill)
  const known = { cost, storedAt: parts.now(), boughtBy: call.team, ...describe(request, question.photo) }
  const result = toResult(outcome, known)
  const [kept] = await Promise.all([keep(request, result, parts), call.reservation.settle(outcome.bill)])
  // The team of the earlier call is charged, not this one.
  return { ...cached(result), ...kept, followed: true, upstreamMs: performance.now() - startedAt }
}

/**
 * Throws the failure of an earlier job, except when Segmind no longer knows the job: then it is
 * bought again.
 */
async function rejectEarlierOutcome(
  outcome: UpstreamFailure,
  leader: LeaderContext,
  call: EarlierCall,
): Promise<undefined> {
  const { error } = outcome
  const isForgotten = error.code === 'upstream_failed' && error.billed === 'unknown'
  if (error.code === 'upstream_failed' || error.billed !== 'unknown') leader.openJob = undefined
  await bookFailure(outcome, call.reservation)
  if (!isForgotten) throw forFollower(error)
}

const LEDGER_RETRY_AFTER_SECONDS = 5

/**
 * Finds the call of an earlier leader. Throws `store_unavailable` when the ledger cannot be read,
 * because a second purchase could duplicate a job in flight.
 */
async function findEarlierCall(
  { earlier }: LeaderContext,
  parts: PipelineParts,
): Promise<[FlightNote, EarlierCall] | undefined> {
  try {
    // A leader that died before it planned a call left the note of the leader before it.
    for (let note = earlier; note; note = note.earlier) {
      const call = await parts.ledger.find(note.callId, note.at)
      if (call) return [{ ...note, earlier: undefined }, call]
    }
    return undefined
  } catch (cause) {
    const detail = 'The store does not respond, so an earlier purchase of this result cannot be checked.'
    throw new GatewayError('store_unavailable', detail, { retryAfterSeconds: LEDGER_RETRY_AFTER_SECONDS, cause })
  }
}

/** Books a failed call by what is known of its bill: releases, settles, or leaves it unknown. */
async function bookFailure({ error, bill }: UpstreamFailure, reservation: Reservation): Promise<GatewayError> {
  if (error.billed === 'no') await reservation.release(bill)
  if (error.billed === 'unknown') await reservation.unknown(bill)
  return error.billed === 'yes' ? withCharge(error, await reservation.settle(bill)) : error
}

/** Builds the cached form of Segmind's picture. */
export function toResult(
  { body, contentType, size, bill }: Omit<UpstreamPicture, 'kind'>,
  known: Pick<Result, 'cost' | 'storedAt' | 'boughtBy' | 'image' | 'photo' | 'overlayMask' | 'scope' | 'answers'>,
): Result {
  const etag = etagOf(body)
  return { body, contentType, etag, ...known, ...defined({ size, upstreamRequestId: bill.upstreamRequestId }) }
}

/** Lists what a result stores about its request. */
function describe(
  { image, params, scope, key, isIdempotent }: KeyedRequest,
  photo: Photo | undefined,
): Pick<Result, 'image' | 'photo' | 'overlayMask' | 'scope' | 'answers'> {
  const { overlayMask } = params
  const optional = { photo, scope: scope === '' ? undefined : scope, answers: isIdempotent ? key : undefined }
  return { image: image.digest, overlayMask, ...defined(optional) }
}

/**
 * Keeps a result under its cache key; under an `Idempotency-Key`, also for replays, even with
 * `no-store`.
 */
async function keep(
  { name, key, cache, isIdempotent }: KeyedRequest,
  result: Result,
  parts: PipelineParts,
): Promise<WriteState> {
  const { answers: _onlyForReplays, ...plain } = result
  const writes: Promise<WriteState>[] = []
  if (!cache.noStore) writes.push(parts.results.keep(key, plain))
  if (isIdempotent) writes.push(parts.results.keep(name, result, REPLAY_SECONDS))
  const kept = await Promise.all(writes)
  return {
    stored: !cache.noStore && kept.every(({ stored }) => stored),
    written: Promise.all(kept.map(({ written }) => written)).then(all => all.every(isWritten => isWritten)),
  }
}
