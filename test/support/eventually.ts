import { setImmediate as nextTick, setTimeout as pause } from 'node:timers/promises'
import { withDeadline } from '../../src/contracts/deadline.js'

/** Long enough for a loaded machine, and shorter than the time limit of a test file. */
const TIMEOUT_MS = 60_000
/** Checks that follow each other without a pause, for what needs a few ticks only. */
const QUICK_CHECKS = 50
/** A pause is a tenth of the wait so far, within these limits: a check may be a request. */
const PAUSE_MS = 5
const MAX_PAUSE_MS = 100

export interface WaitOptions {
  timeoutMs?: number
}

/**
 * Calls `check` until it returns something truthy, and returns that.
 * Fails after `timeoutMs` with `failure`, which says what never happened: 'the gauge never fell'.
 */
export async function eventually<T>(
  failure: string,
  check: () => T | Promise<T>,
  { timeoutMs = TIMEOUT_MS }: WaitOptions = {},
): Promise<Exclude<T, undefined | null | false | 0 | ''>> {
  const startedAt = performance.now()
  const polling = async (isOver: () => boolean) => {
    for (let checks = 1; !isOver(); checks++) {
      const found = await check()
      if (found) return found as Exclude<T, undefined | null | false | 0 | ''>
      const waitedMs = performance.now() - startedAt
      const pauseMs = Math.min(Math.max(waitedMs / 10, PAUSE_MS), MAX_PAUSE_MS)
      await (checks < QUICK_CHECKS ? nextTick() : pause(pauseMs))
    }
    throw timedOut(failure, timeoutMs)
  }
  // The deadline also ends a check that hangs.
  return await within(
    failure,
    polling(() => performance.now() > startedAt + timeoutMs),
    { timeoutMs: timeoutMs + MAX_PAUSE_MS },
  )
}

/**
 * Settles as `promise` does. Fails after `timeoutMs` with `failure`, which says what never
 * happened.
 */
export function within<T>(
  failure: string,
  promise: Promise<T>,
  { timeoutMs = TIMEOUT_MS }: WaitOptions = {},
): Promise<T> {
  return withDeadline(promise, timeoutMs, () => {
    throw timedOut(failure, timeoutMs)
  })
}

function timedOut(failure: string, timeoutMs: number): Error {
  return new Error(`${failure} (waited ${timeoutMs / 1000} s)`)
}
