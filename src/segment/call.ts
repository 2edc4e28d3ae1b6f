import type { ImageBytes, Result } from '../contracts/types.js'
import type { KeyedRequest } from './keyed-request.js'
import type { FlightLeader, PipelineParts, Reservation, UpstreamOutcome } from './ports.js'
import { timed } from './story.js'
import type { UpstreamAttempt } from './upstream-port.js'

/** Sends of a request that Segmind refuses for its rate, at most. */
const MAX_SENDS = 4

/**
 * Wait for a slot after which the result may have been bought elsewhere: by a process that had no
 * store, and so no lease, while this one waited.
 */
const LOOK_AGAIN_AFTER_MS = 250

export interface SlotOutcome {
  /** Of the call, or a result that made the call needless. */
  outcome: UpstreamOutcome | { kind: 'found'; result: Result }
  /** Milliseconds in the queue, and at Segmind. */
  queueMs: number
  upstreamMs: number
}

export interface SlotCall {
  audience: FlightLeader['audience']
  /** Released when no call is made. */
  reservation: Reservation
  /** Looks for the result in the cache. Absent for a purchase without a flight. */
  lookAgain?(): Promise<Result | undefined>
  onSubmitted(jobId: string): Promise<void>
  /** Called once, when the first slot is granted. */
  onGranted(): void
}

/**
 * Waits for a slot and calls Segmind. A call that Segmind refused for its rate waits for another
 * slot, before the other requests of its team. Throws the errors of `Slots.acquire`.
 */
export async function callInSlot(
  image: ImageBytes,
  request: KeyedRequest,
  slotCall: SlotCall,
  parts: PipelineParts,
): Promise<SlotOutcome> {
  const { story } = request
  const { audience, reservation } = slotCall
  const acquiring = timed(story, 'queue', parts.slots.acquire(slotRequest(request, slotCall)))
  let slot = await releaseOnError(acquiring, reservation)
  slotCall.onGranted()
  let [queueMs, upstreamMs] = [slot.waitedMs, 0]
  for (let sends = 1; ; sends++) {
    const result = slot.waitedMs >= LOOK_AGAIN_AFTER_MS ? await slotCall.lookAgain?.() : undefined
    // The callers may have left during the look; they were told that nothing was bought.
    if (result || audience.signal.aborted) {
      slot.release('unused')
      await reservation.release()
      audience.signal.throwIfAborted()
      if (result) return { outcome: { kind: 'found', result }, queueMs, upstreamMs }
    }
    await reservation.recheck().catch(error => {
      slot.release('unused')
      throw error
    })
    audience.isSent = true
    const sentAt = performance.now()
    const outcome = await timed(story, 'call', call(image, request, slotCall, parts)).catch(error => {
      slot.release()
      throw error
    })
    upstreamMs += performance.now() - sentAt
    const busy = outcome.kind === 'failed' ? outcome.busy : undefined
    if (busy) slot.throttled(busy.waitMs)
    if (!busy || sends === MAX_SENDS) {
      slot.release()
      return { outcome, queueMs, upstreamMs }
    }
    audience.isSent = false
    // The slot is freed in the same step that slows the others down, so no call slips in between.
    slot = await releaseOnError(timed(story, 'queue', slot.requeue()), reservation)
    queueMs += slot.waitedMs
  }
}

function slotRequest({ caller, isBatch = false, latestDeadline }: KeyedRequest, { audience }: SlotCall) {
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
  { onSubmitted, reservation }: SlotCall,
  { upstream }: PipelineParts,
): Promise<UpstreamOutcome> {
  try {
    const onAttempt = (attempt: UpstreamAttempt) => story?.recordAttempt(attempt)
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
