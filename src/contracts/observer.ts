/** Receives store failures. */
export interface StoreObserver {
  /**
   * Counts and logs a failure. `operation` names the part and the step, as in `results: find`.
   * Never throws.
   */
  storeFailed(error: unknown, operation: string): void
}

/** Receives failures of a store that holds bodies with a digest. */
export interface BodyObserver extends StoreObserver {
  /** A stored body or its metadata was damaged. It was removed, and counts as missing. Never throws. */
  bodyDamaged(kind: 'result' | 'image', key: string): void
}

/**
 * Reason why resending a request cannot bill it twice: `unsent`: no byte was sent; `busy`: 429 or
 * 503; `server error`: 500, 502 or 504, which Segmind does not bill.
 */
export type RetryReason = 'unsent' | 'busy' | 'server error'

/**
 * Reason why a paid result never reached the store: `no room` among the waiting results, or
 * `refused` repeatedly by a store that accepts others.
 */
export type ResultLossReason = 'no room' | 'refused'

/**
 * Role of a process in a flight that is shared with other processes. `takeover`: it replaces a dead
 * leader; `unguarded`: it leads without a lease because the store does not answer.
 */
export type SharedFlightRole = 'leader' | 'follower' | 'takeover' | 'unguarded'
