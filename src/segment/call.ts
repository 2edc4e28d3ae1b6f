import type { PurchaseKind } from '../contracts/ledger.js'
import type { ImageBytes, PixelDigest, Result } from '../contracts/types.js'
import type { Audience } from './audience.js'
import type { KeyedRequest } from './keyed-request.js'
import type { FlightNote, PipelineParts, Reservation, UpstreamOutcome } from './ports.js'
import { timed } from './story.js'
import type { UpstreamAttempt } from './upstream-port.js'

/** Sends of a request that Segmind refuses for its rate, at most. */
const MAX_SENDS = 4

/**
 * Wait for a slot after which the result may have been bought elsewhere: by a process that had no
 * store, and so no lease, while this one waited.
 */
const LOOK_AGAIN_AFTER_MS = 250

/** State of a purchase that its leader carries through it. */
export interface LeaderContext {
  note: FlightNote
  /** The callers that wait for the purchase. */
  audience: Audience
  purchase: PurchaseKind
  /** The call of an earlier leader that died or left a job open. */
  earlier?: FlightNote
  /**
   * The call whose job is open at Segmind with an unknown outcome: this leader's, or an earlier
   * one's.
   */
  openJob?: FlightNote | undefined
  /** Looks for the result in the cache. Absent for a purchase without a flight. */
  lookAgain?(): Promise<Result | undefined>
}

export interface SlotOutcome {
  /** Of the call, or a result that made the call needless. */
  outcome: UpstreamOutcome | { kind: 'found'; result: Result }
  /** Milliseconds in the queue, and at Segmind. */
  queueMs: number
  upstreamMs: number
  /** Present with `PIXEL_DIGEST`. Never rejects. */
  pixels: Promise<PixelDigest | undefined> | undefined
}

/** A call that is about to be made. */
interface ReservedCall {
  leader: LeaderContext
  /** Released when no call is made. */
  reservation: Reservation
}

/**
 * Waits for a slot and calls Segmind. A call that Segmind refused for its rate waits for another
 * slot, before the other requests of its team. Digests the pixels of the image from the first slot
 * on. Throws the errors of `Slots.acquire`.
 */
export async function callInSlot(
  image: ImageBytes,
  request: KeyedRequest,
  reserved: ReservedCall,
  parts: PipelineParts,
): Promise<SlotOutcome> {
  const { story } = request
  const { reservation } = reserved
  const { audience, lookAgain } = reserved.leader
  const acquiring = timed(story, 'queue', parts.slots.acquire(slotRequest(request, audience)))
  let slot = await releaseOnError(acquiring, reservation)
  const pixels = parts.digestPixels?.(image)
  if (pixels) request.holdUntil?.(pixels)
  let [queueMs, upstreamMs] = [slot.waitedMs, 0]
  for (let sends = 1; ; sends++) {
    const result = slot.waitedMs >= LOOK_AGAIN_AFTER_MS ? await lookAgain?.() : undefined
    if (!result && !audience.signal.aborted)
      await reservation.recheck().catch(error => {
        slot.release('unused')
        throw error
      })
    // The callers may have left meanwhile. Their responses say that nothing was bought.
    if (result || audience.signal.aborted) {
      slot.release('unused')
      await reservation.release()
      audience.signal.throwIfAborted()
      if (result) return { outcome: { kind: 'found', result }, queueMs, upstreamMs, pixels }
    }
    audience.sent()
    const sentAt = performance.now()
    const outcome = await timed(story, 'call', call(image, request, reserved, parts)).catch(error => {
      slot.release()
      throw error
    })
    upstreamMs += performance.now() - sentAt
    const busy = outcome.kind === 'failed' ? outcome.busy : undefined
    if (busy) slot.throttled(busy.waitMs)
    if (!busy || sends === MAX_SENDS) {
      slot.release()
      return { outcome, queueMs, upstreamMs, pixels }
    }
    audience.refused()
    // The slot is freed in the same step that slows the others down, so no call slips in between.
    slot = await releaseOnError(timed(story, 'queue', slot.requeue()), reservation)
    queueMs += slot.waitedMs
  }
}

function slotRequest({ caller, isBatch = false, latestDeadline }: KeyedRequest, audience: Audience) {
  return {
    caller,
    isBatch,
    deadline: latestDeadline,
    signal: audience.signal,
    onPlace: (place: typeof audience.place) => {
      audience.place = place
    },
  }
}

/**
 * The client returns failures and throws none; a bug that throws may still have cost something.
 */
async function call(
  image: ImageBytes,
  { key, params, story }: KeyedRequest,
  { leader, reservation }: ReservedCall,
  { upstream }: PipelineParts,
): Promise<UpstreamOutcome> {
  try {
    const onAttempt = (attempt: UpstreamAttempt) => story?.recordAttempt(attempt)
    const onSubmitted = (jobId: string) => {
      leader.openJob = leader.note
      return reservation.submitted(jobId)
    }
    return await upstream.segment(image, params, { question: key, onAttempt, onSubmitted })
  } catch (error) {
    await reservation.unknown()
    throw error
  }
}

async function releaseOnError<T>(step: Promise<T>, reservation: Reservation): Promise<T> {
  try {
    return await step
  } catch (error) {
    await reservation.release()
    throw error
  }
}
