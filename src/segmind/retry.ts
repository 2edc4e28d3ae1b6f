import type { UpstreamOutcome } from '../segment/ports.js'
import type { Verdict } from './verdict.js'

export interface RetryPolicy {
  /** Most times a call is sent, the first included. */
  maxAttempts: number
  /** When the whole call has to be over, milliseconds since 1970. */
  endsAt: number
  /** Aborted: nothing is tried again, and pauses end. */
  closing: AbortSignal
  now: () => number
  random: () => number
  wait: (ms: number, signal: AbortSignal) => Promise<void>
}

/** Without a word about when: up to a quarter of a second before the second attempt, half a second before the third. */
const FIRST_PAUSE_MS = 250
/** Everybody who was told the same moment would come back at that moment. */
const SPREAD_MS = 500

/**
 * Sends until the verdict is final, the attempts are used up, or the pause that Segmind asks for does not fit into the call's
 * time any more; answers the last outcome. `send` says itself, by `again`, where sending again cannot be paid for twice.
 */
export async function sendAgain(send: () => Promise<Verdict>, policy: RetryPolicy): Promise<UpstreamOutcome> {
  for (let attempt = 1; ; attempt++) {
    const { outcome, again } = await send()
    if (!again || attempt >= policy.maxAttempts || policy.closing.aborted) return outcome
    const pauseMs = pauseBefore(attempt, again.askedWaitMs, policy.random())
    if (policy.now() + pauseMs >= policy.endsAt) return outcome
    await policy.wait(pauseMs, policy.closing)
    if (policy.closing.aborted) return outcome
  }
}

function pauseBefore(attempt: number, askedWaitMs: number | undefined, random: number): number {
  if (askedWaitMs !== undefined) return askedWaitMs + random * SPREAD_MS
  return FIRST_PAUSE_MS * 2 ** (attempt - 1) * (0.5 + random / 2)
}
