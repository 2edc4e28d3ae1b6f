/** Why the same request may be sent again: nothing of it went out, Segmind did not take it now (429, 503), or failed and does not bill that (500, 502, 504). */
export interface Again {
  why: 'unsent' | 'busy' | 'server error'
  askedWaitMs?: number
}

export interface RetryPolicy {
  /** Most times a request is sent of which nothing arrived, the first included. */
  maxAttempts: number
  /** Whether a server error is worth one more attempt (`RETRY_SERVER_ERRORS`). */
  retryServerErrors: boolean
  /** When the whole call has to be over, and until when the caller would wait for a Segmind that is busy; milliseconds since 1970. */
  endsAt: number
  retryUntil: number
  /** Aborted: nothing is tried again, and pauses end. */
  closing: AbortSignal
  now: () => number
  random: () => number
  wait: (ms: number, signal: AbortSignal) => Promise<void>
  /** Told of every request that goes out once more. */
  onAgain?: (why: Again['why']) => void
}

/** Without a word about when: up to a quarter of a second before the second attempt, half a second before the third, and so on. */
const FIRST_PAUSE_MS = 250
const MAX_PAUSE_MS = 60_000
/** Everybody who was told the same moment would come back at that moment. */
const SPREAD_MS = 500

/**
 * Sends until the verdict is final, or the pause that Segmind asks for does not fit into the patience of the caller and the call's
 * time any more; answers the last verdict. `send` says itself, by `again`, where sending again cannot be paid for twice.
 */
export async function sendAgain<V extends { again?: Again }>(send: () => Promise<V>, policy: RetryPolicy): Promise<V> {
  const sent = { unsent: 0, busy: 0, 'server error': 0 }
  for (let attempt = 1; ; attempt++) {
    const verdict = await send()
    const { again } = verdict
    if (!again || policy.closing.aborted) return verdict
    sent[again.why]++
    if (again.why === 'unsent' && sent.unsent >= policy.maxAttempts) return verdict
    if (again.why === 'server error' && (!policy.retryServerErrors || sent['server error'] > 1)) return verdict
    const pauseMs = pauseBefore(attempt, again.askedWaitMs, policy.random())
    const endsAt = again.why === 'busy' ? Math.min(policy.endsAt, policy.retryUntil) : policy.endsAt
    if (policy.now() + pauseMs >= endsAt) return verdict
    await policy.wait(pauseMs, policy.closing)
    if (policy.closing.aborted) return verdict
    policy.onAgain?.(again.why)
  }
}

function pauseBefore(attempt: number, askedWaitMs: number | undefined, random: number): number {
  if (askedWaitMs !== undefined) return Math.min(askedWaitMs, MAX_PAUSE_MS) + random * SPREAD_MS
  return Math.min(FIRST_PAUSE_MS * 2 ** (attempt - 1), MAX_PAUSE_MS) * (0.5 + random / 2)
}
