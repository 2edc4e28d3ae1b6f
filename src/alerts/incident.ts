/** What all replicas know of one thing that is told once. Times are milliseconds since 1970. */
export interface Incident {
  /** The `webhook-id` of its message, whoever sends it. */
  messageId: string
  openedAt: number
  /** `claimed`: somebody is telling it · `sent` · `failed`: nobody would take it, it is tried again after the cool-down. */
  status: 'claimed' | 'sent' | 'failed'
  holder: string
  /** When the holder last said that it is at it. */
  claimedAt: number
  /** When it was told, or given up. */
  endedAt?: number
  /** When somebody last saw that its condition holds; at most a minute late. */
  seenAt: number
  /** When its condition was over. */
  clearedAt?: number
}

/** A claim whose holder has said nothing for so long is free: holders say it at every look. */
export const CLAIM_STALE_MS = 120_000
/** A condition is over when it does not hold and nobody has seen it for so long: replicas may see different things. */
export const UNSEEN_MS = 120_000
/** How often it is written down that a condition still holds. */
export const SEEN_EVERY_MS = 60_000

export interface Viewpoint {
  now: number
  coolDownMs: number
  /** Who is looking, and whether it is telling this incident already. */
  self: string
}

/**
 * What there is to tell of a condition that holds: `new`: an incident of its own · `same`: the one that was found, by its message id, for
 * its holder is gone (or was this process, which never heard that it had got it) or nobody would take it · `nothing`: it is told.
 */
export function toTell(found: Incident | undefined, { now, coolDownMs, self }: Viewpoint): 'new' | 'same' | 'nothing' {
  if (!found) return 'new'
  const { status, holder, claimedAt, endedAt = 0, clearedAt } = found
  if (status === 'claimed') return holder === self || now - claimedAt > CLAIM_STALE_MS ? 'same' : 'nothing'
  if (now - endedAt < coolDownMs) return 'nothing'
  if (clearedAt !== undefined) return 'new'
  return status === 'failed' ? 'same' : 'nothing'
}

/** Reads a record; `undefined` for what is no incident, which is then written anew. */
export function readIncident(value: string): Incident | undefined {
  try {
    const found = JSON.parse(value) as Incident
    return typeof found?.messageId === 'string' && typeof found.openedAt === 'number' ? found : undefined
  } catch {
    return undefined
  }
}
