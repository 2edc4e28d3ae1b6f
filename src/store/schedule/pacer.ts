import type { PacerState } from './state.js'

/** Calls that may follow each other without a pause while the rate is that of the setting. */
const BURST = 5
/** Pause after a refusal for which the upstream named no wait. It doubles with every decrease. */
const FIRST_PAUSE_MS = 1_000
const MAX_PAUSE_MS = 30_000
/** Longest wait of the upstream that is obeyed. */
const MAX_REQUESTED_MS = 60_000
/** Within this time the rate is decreased once: the calls in flight are refused together. */
const CUT_WINDOW_MS = 10_000
/** Time in which the rate grows from its decreased value to its ceiling. */
const RECOVERY_MS = 60_000
const MINUTE_MS = 60_000
/** Shortest time over which a rate is measured. */
const MEASURE_MS = 10_000
const MAX_STRIKES = 5
/** Least rate that is assumed at a first refusal. Few calls are no measure of what the upstream accepts. */
const LEAST_MEASURED = 60

/** The constants of the pacer, for the script of Redis. */
export const PACER = {
  BURST,
  FIRST_PAUSE_MS,
  MAX_PAUSE_MS,
  MAX_REQUESTED_MS,
  CUT_WINDOW_MS,
  RECOVERY_MS,
  MINUTE_MS,
  MEASURE_MS,
  MAX_STRIKES,
  LEAST_MEASURED,
}

/** Ends a limit that has recovered, and corrects times that a clock set back has left. */
export function refreshPacer(pacer: PacerState, perMinute: number, now: number): void {
  pacer.pausedUntil = Math.min(pacer.pausedUntil, now + MAX_REQUESTED_MS)
  pacer.cutAt = Math.min(pacer.cutAt, now)
  if (pacer.cutAt > 0 && limitOf(pacer, now) >= pacer.ceiling) {
    pacer.cutAt = 0
    pacer.strikes = 0
  }
  const { intervalMs } = paceOf(pacer, perMinute, now)
  pacer.tat = Math.min(pacer.tat, now + BURST * intervalMs)
  const countedMs = now - pacer.countedFrom
  if (countedMs >= 0 && countedMs < MINUTE_MS) return
  pacer.before = countedMs >= 0 && countedMs < 2 * MINUTE_MS ? pacer.counted : 0
  pacer.counted = 0
  pacer.countedFrom = now
}

/** Slows all processes down: a pause, and at most once per window half the rate. */
export function throttle(pacer: PacerState, perMinute: number, now: number, waitMs: number | undefined): void {
  const ownMs = Math.min(FIRST_PAUSE_MS * 2 ** pacer.strikes, MAX_PAUSE_MS)
  const pauseMs = waitMs === undefined ? ownMs : Math.min(waitMs, MAX_REQUESTED_MS)
  const limit = pacer.cutAt > 0 ? limitOf(pacer, now) : perMinute > 0 ? perMinute : measuredRate(pacer, now)
  pacer.pausedUntil = Math.max(pacer.pausedUntil, now + pauseMs)
  if (pacer.cutAt > 0 && now - pacer.cutAt < CUT_WINDOW_MS) return
  pacer.base = Math.max(1, Math.floor(limit / 2))
  pacer.ceiling = perMinute > 0 ? perMinute : Math.max(2 * limit, pacer.base + 1)
  pacer.cutAt = now
  pacer.strikes = Math.min(pacer.strikes + 1, MAX_STRIKES)
}

/** Returns the earliest time of the n-th call from now, as a wait in milliseconds. */
export function pacedWaitMs(pacer: PacerState, perMinute: number, now: number, n: number): number {
  const { intervalMs, burst } = paceOf(pacer, perMinute, now)
  const paced = Math.max(pacer.tat, now) + (n - burst) * intervalMs
  return Math.max(0, pacer.pausedUntil - now, intervalMs > 0 ? paced - now : 0)
}

/** Counts a call that is granted now. */
export function countCall(pacer: PacerState, perMinute: number, now: number): void {
  const { intervalMs } = paceOf(pacer, perMinute, now)
  pacer.tat = Math.max(pacer.tat, now) + intervalMs
  pacer.counted++
}

/** `intervalMs` is 0 where nothing limits the rate. */
function paceOf(pacer: PacerState, perMinute: number, now: number): { intervalMs: number; burst: number } {
  const rate = pacer.cutAt > 0 ? limitOf(pacer, now) : perMinute
  return { intervalMs: rate > 0 ? Math.ceil(MINUTE_MS / rate) : 0, burst: pacer.cutAt > 0 ? 1 : BURST }
}

/** Returns the calls a minute after a decrease. They grow again once the pause is over. */
function limitOf({ base, ceiling, cutAt, pausedUntil }: PacerState, now: number): number {
  const recoveredMs = Math.max(0, now - Math.max(cutAt, pausedUntil))
  return Math.min(ceiling, base + Math.floor(((ceiling - base) * recoveredMs) / RECOVERY_MS))
}

function measuredRate({ counted, countedFrom, before }: PacerState, now: number): number {
  return Math.max(LEAST_MEASURED, before, Math.floor((counted * MINUTE_MS) / Math.max(MEASURE_MS, now - countedFrom)))
}
