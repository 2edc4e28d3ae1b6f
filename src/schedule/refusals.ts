import { GatewayError } from '../contracts/errors.js'
import type { SchedulePlace } from '../contracts/schedule.js'

/** `Retry-After` where no wait can be estimated. */
const RETRY_AFTER_SECONDS = 2

/** The queue is full, and the request is one that has to leave it. */
export function queueFull(waiting: number): GatewayError {
  return overloaded(`${waiting} requests are already waiting for Segmind`)
}

export function waitedTooLong(timeoutMs: number, place: SchedulePlace | undefined): GatewayError {
  return overloaded(`no slot at Segmind became free within ${timeoutMs} ms`, place?.slotWaitMs)
}

/**
 * Returns the error of a request whose expected wait exceeds `patienceMs`; undefined where it may
 * wait. `isNew`: the wait for a slot is estimated once, since it changes with every call. The wait
 * that the pacer imposes is certain.
 */
export function refusalOf(
  { slotWaitMs = 0, pacedMs, isThrottled }: SchedulePlace,
  { patienceMs, isNew }: { patienceMs: number; isNew: boolean },
): GatewayError | undefined {
  if (pacedMs > patienceMs && isThrottled) return busy(pacedMs)
  if (pacedMs > patienceMs)
    return overloaded('more requests are waiting than its rate of calls permits in time', pacedMs)
  if (isNew && slotWaitMs > patienceMs) return overloaded('a slot at Segmind is not expected in time', slotWaitMs)
  return undefined
}

function busy(waitMs: number): GatewayError {
  const retryAfterSeconds = toSeconds(waitMs)
  const detail = `Segmind limits the rate of requests (HTTP 429). The next call is possible in ${retryAfterSeconds} s.`
  return new GatewayError('upstream_busy', detail, { retryAfterSeconds })
}

function overloaded(why: string, waitMs?: number): GatewayError {
  const retryAfterSeconds = waitMs === undefined ? RETRY_AFTER_SECONDS : toSeconds(waitMs)
  return new GatewayError('overloaded', `The gateway is overloaded: ${why}.`, { retryAfterSeconds })
}

function toSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000))
}
