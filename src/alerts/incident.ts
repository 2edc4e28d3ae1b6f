/** The shared state of an alert that is sent once. Times in milliseconds since 1970. */
export interface Incident {
  /** The `webhook-id` of its message, the same from every replica. */
  messageId: string
  openedAt: number
  /**
   * `claimed`: a replica is sending it · `sent` · `failed`: the receiver refused it; it is sent
   * again after the cool-down.
   */
  status: 'claimed' | 'sent' | 'failed'
  holder: string
  /** When the holder last renewed its claim. */
  claimedAt: number
  /** When it was sent or given up. */
  endedAt?: number
  /** When a replica last saw that its condition holds, up to a minute late. */
  seenAt: number
  /** When its condition cleared. */
  clearedAt?: number
}

/** Age from which a claim is stale. Holders renew theirs at every check. */
export const CLAIM_STALE_MS = 120_000
/**
 * A condition has cleared if no replica has seen it for this time. Replicas may see different
 * facts.
 */
export const UNSEEN_MS = 120_000
/** Interval at which `seenAt` is written. */
export const SEEN_EVERY_MS = 60_000

export interface CheckContext {
  now: number
  coolDownMs: number
  /** Id of the process that checks. */
  self: string
}

/**
 * Decides the next step for a condition that holds:
 * - `new`: send a new message
 * - `same`: send again under the same message id. The receiver refused it, or its holder is gone,
 *   or this process holds the claim without having seen the store confirm it.
 * - `nothing`: it is sent, or another replica is sending it
 */
export function nextStep(
  found: Incident | undefined,
  { now, coolDownMs, self }: CheckContext,
): 'new' | 'same' | 'nothing' {
  if (!found) return 'new'
  const { status, holder, claimedAt, endedAt = 0, clearedAt } = found
  if (status === 'claimed') return holder === self || now - claimedAt > CLAIM_STALE_MS ? 'same' : 'nothing'
  if (now - endedAt < coolDownMs) return 'nothing'
  if (clearedAt !== undefined) return 'new'
  return status === 'failed' ? 'same' : 'nothing'
}

/** Parses a record. Undefined for one that is not an incident; it will be overwritten. */
export function readIncident(value: string): Incident | undefined {
  try {
    const found = JSON.parse(value) as Incident
    return typeof found?.messageId === 'string' && typeof found.openedAt === 'number' ? found : undefined
  } catch {
    return undefined
  }
}
