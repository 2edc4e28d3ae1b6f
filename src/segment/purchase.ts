import { GatewayError } from '../errors.js'
import type { PurchaseKind } from '../storage.js'
import { asFollower, free, toResult, withCharge } from './acceptance.js'
import type { EarlierCall, FlightNote, Kept, PipelineParts, Purchase, Reservation, UpstreamOutcome } from './ports.js'
import { type Question, REPLAY_SECONDS, reused } from './question.js'
import { timed } from './story.js'
import type { CacheKey, ImageBytes, Result } from './types.js'

/** A purchase by the one who leads it. */
export interface Led {
  note: FlightNote
  purchase: PurchaseKind
  /** The call of a leader before, who died or left a job open. */
  earlier?: FlightNote
  /** The call that Segmind has taken as a job of which it is not known how it ended: this one's, or that of a leader before. */
  openJob?: FlightNote | undefined
}

/** How long Segmind surely still knows a job. */
export const JOB_AGE_MS = 55 * 60_000

/** Goes on with what a leader before has left, else spends money: check, reserve, wait for a turn, call, book, keep. The only way to Segmind. */
export async function buy(question: Question, led: Led, parts: PipelineParts): Promise<Purchase> {
  const inherited = led.earlier && (await succeed(question, led, parts))
  if (inherited) return inherited
  const { caller, requestId, key, params, story } = question
  const image = await bytesOf(question, parts)
  const size = await timed(story, 'check image', parts.checkImage(image, params))
  keepImage(question, parts)
  parts.ledger.admit(caller.team)
  parts.upstream.admit()
  const { callId, at } = led.note
  if (story) story.balanceBefore = parts.ledger.balance()
  const { purchase } = led
  const sent = { ...size, bytes: image.byteLength }
  const planned = { callId, at, caller, requestId, cacheKey: key, purchase, image: sent }
  const reservation = await timed(story, 'reserve', parts.ledger.reserve(planned))
  if (story) story.call = { callId, at, purchase }
  const turn = await orRelease(timed(story, 'queue', parts.turns.take(caller)), reservation)
  if (story) story.queueMs = turn.waitedMs
  const pixelKey = parts.pixelKeyOf?.(image, params, question.scope)
  const calledAt = performance.now()
  const called = call(image, question, { led, reservation }, parts).finally(turn.done)
  const outcome = await timed(story, 'call', called)
  const upstreamMs = performance.now() - calledAt
  if (story) story.balanceAfter = outcome.bill.remaining
  await describePixels(reservation, pixelKey)
  if (outcome.kind === 'failed') throw await failed(outcome, led, reservation)
  led.openJob = undefined
  const cost = await reservation.costOf(outcome.bill)
  const result = toResult(outcome, { cost, storedAt: parts.now(), boughtBy: caller.team.id, ...describe(question) })
  // Both at once: a process that is killed between them would leave a paid answer that nobody finds, or one that nobody paid.
  const both = Promise.all([keep(question, result, parts), reservation.settle(outcome.bill)])
  const [kept, charged] = await timed(story, 'book and keep', both)
  const by = { team: caller.team.id, callId, at, requestId }
  return { ...kept, result, bought: true, by, charged, queueMs: turn.waitedMs, upstreamMs }
}

/** How long a paid answer may wait for the report of what was wasted. */
const PIXELS_WAIT_MS = 2_000

async function describePixels(
  reservation: Reservation,
  pixelKey: Promise<string | undefined> | undefined,
): Promise<void> {
  if (!pixelKey) return
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>(resolve => {
    timer = setTimeout(() => resolve(undefined), PIXELS_WAIT_MS)
  })
  const known = await Promise.race([pixelKey, late])
  clearTimeout(timer)
  if (known !== undefined) reservation.describe({ pixelKey: known })
}

/** Keeps an image that came along and is known to be good, so that the next request may name it by its id; nobody waits for that. */
export function keepImage({ image, scope, cache, caller }: Question, parts: PipelineParts): void {
  if (image.uploaded && !cache.noStore) void parts.images.keep(scope, image.uploaded, caller.team.id)
}

/** A call whose process is gone, as the ledger has it. */
export interface Orphan {
  call: EarlierCall
  cacheKey: CacheKey
  isKept: boolean
}

/** Polls the job that a dead process has left, books it and keeps its answer. Nobody waits for that, so failures are only booked. */
export async function landOrphan({ call, cacheKey, isKept }: Orphan, parts: PipelineParts): Promise<void> {
  if (call.jobId === undefined) return call.reservation.unknown()
  const outcome = await parts.upstream.resume(call.jobId)
  // It goes on at Segmind: the next sweep asks again, until the job is too old.
  if (outcome.kind === 'failed' && outcome.error.code === 'upstream_timeout') return
  if (outcome.kind === 'failed') return void (await booked(outcome, call.reservation))
  const scope = parts.cacheScope === 'team' ? { scope: call.team } : {}
  const cost = await call.reservation.costOf(outcome.bill)
  const result = toResult(outcome, { cost, storedAt: parts.now(), boughtBy: call.team, ...scope })
  await Promise.all([isKept && parts.results.keep(cacheKey, result), call.reservation.settle(outcome.bill)])
}

/**
 * Comes after a leader that died, or gave up waiting for its job. A job is polled, not submitted again; a call that may have gone
 * out is booked as unknown. Answers nothing where the answer has to be bought anew.
 */
async function succeed(question: Question, led: Led, parts: PipelineParts): Promise<Purchase | undefined> {
  // Until more is known: a failure here leaves it to the next one.
  led.openJob = led.earlier
  const [note, call] = (await earlierCall(led, parts)) ?? []
  led.openJob = undefined
  if (!note || !call) return undefined
  if (call.jobId === undefined || parts.now() - call.at > JOB_AGE_MS) {
    if (call.state === 'reserved') await call.reservation.unknown()
    return undefined
  }
  led.openJob = note
  // Only under an Idempotency-Key: its first question is the one the job answers.
  if (call.cacheKey !== question.key) throw reused()
  const askedAt = performance.now()
  const outcome = await parts.upstream.resume(call.jobId)
  if (outcome.kind === 'failed') return notInherited(outcome, led, call)
  const cost = await call.reservation.costOf(outcome.bill)
  const result = toResult(outcome, { cost, storedAt: parts.now(), boughtBy: call.team, ...describe(question) })
  const [kept] = await Promise.all([keep(question, result, parts), call.reservation.settle(outcome.bill)])
  // Whose call it was has paid for it.
  return { ...free(result), ...kept, followed: true, upstreamMs: performance.now() - askedAt }
}

/** A job that Segmind does not know any more is bought anew; any other failure is this question's. */
async function notInherited(
  outcome: UpstreamOutcome & { kind: 'failed' },
  led: Led,
  call: EarlierCall,
): Promise<undefined> {
  const { error } = outcome
  if (error.code === 'upstream_failed' || error.billed !== 'unknown') led.openJob = undefined
  await booked(outcome, call.reservation)
  if (error.code !== 'upstream_failed' || error.billed !== 'unknown') throw asFollower(error)
}

const LEDGER_RETRY_AFTER_SECONDS = 5

/** A ledger that does not answer decides nothing: what is bought anew might be a job that is under way. Throws `store_unavailable`. */
async function earlierCall({ earlier }: Led, parts: PipelineParts): Promise<[FlightNote, EarlierCall] | undefined> {
  try {
    // A leader that died before it had planned a call has left that of the one before.
    for (let note = earlier; note; note = note.earlier) {
      const call = await parts.ledger.find(note.callId, note.at)
      if (call) return [{ ...note, earlier: undefined }, call]
    }
    return undefined
  } catch (cause) {
    const detail = 'What became of an earlier purchase of this answer cannot be looked up: the store does not answer.'
    throw new GatewayError('store_unavailable', detail, { retryAfterSeconds: LEDGER_RETRY_AFTER_SECONDS, cause })
  }
}

/** Asks Segmind. It answers failures and throws none; a bug that throws all the same may have cost something. */
async function call(
  image: ImageBytes,
  question: Question,
  { led, reservation }: { led: Led; reservation: Reservation },
  parts: PipelineParts,
): Promise<UpstreamOutcome> {
  const patienceMs = Math.max(0, question.patienceEndsAt - performance.now())
  try {
    return await parts.upstream.segment(image, question.params, {
      retryUntil: parts.now() + patienceMs,
      onAttempt: attempt => question.story?.attempted(attempt),
      async onSubmitted(jobId) {
        led.openJob = led.note
        await reservation.submitted(jobId)
      },
    })
  } catch (error) {
    await reservation.unknown()
    throw error
  }
}

async function failed(
  outcome: UpstreamOutcome & { kind: 'failed' },
  led: Led,
  reservation: Reservation,
): Promise<GatewayError> {
  if (outcome.error.billed !== 'unknown') led.openJob = undefined
  return booked(outcome, reservation)
}

/** Books what a failed call cost, by what is known of it. */
async function booked(
  { error, bill }: UpstreamOutcome & { kind: 'failed' },
  reservation: Reservation,
): Promise<GatewayError> {
  if (error.billed === 'no') await reservation.release(bill)
  if (error.billed === 'unknown') await reservation.unknown(bill)
  return error.billed === 'yes' ? withCharge(error, await reservation.settle(bill)) : error
}

/** What is known about a result beside its picture. */
function describe({
  image,
  params,
  scope,
  key,
  isOnce,
}: Question): Pick<Result, 'image' | 'overlayMask' | 'scope' | 'answers'> {
  const { overlayMask } = params
  return { image: image.digest, overlayMask, ...(scope !== '' && { scope }), ...(isOnce && { answers: key }) }
}

/** Keeps the answer where the next one who asks the same looks for it; under the name of an `Idempotency-Key` even with `no-store`. */
async function keep({ name, key, cache, isOnce }: Question, result: Result, parts: PipelineParts): Promise<Kept> {
  const { answers: _onlyForReplays, ...plain } = result
  const places: Promise<Kept>[] = []
  if (!cache.noStore) places.push(parts.results.keep(key, plain))
  if (isOnce) places.push(parts.results.keep(name, result, REPLAY_SECONDS))
  const kept = await Promise.all(places)
  return {
    stored: !cache.noStore && kept.every(({ stored }) => stored),
    written: Promise.all(kept.map(({ written }) => written)).then(all => all.every(isWritten => isWritten)),
  }
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

async function orRelease<T>(step: Promise<T>, reservation: Reservation): Promise<T> {
  try {
    return await step
  } catch (error) {
    await reservation.release()
    throw error
  }
}
