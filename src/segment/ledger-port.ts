import type { GatewayError } from '../contracts/errors.js'
import type { PurchaseKind, SentImage } from '../contracts/ledger.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import type { CacheKey, Caller, Team } from '../contracts/types.js'
import type { Bill } from './upstream-port.js'

/**
 * The account behind the shared key. `admit` throws `credits_exhausted`, or `credits_reserved` for a
 * team that is not protected. `refused`: Segmind refused a call for lack of credits; returns the error
 * for its callers. `latest` is undefined while the balance is unknown.
 */
export interface SharedAccount {
  gate: {
    admit(team: Team, imageBytes: number): void
    refused(error: GatewayError, team: Team, imageBytes: number): Promise<GatewayError>
  }
  balance: { readonly latest: { remaining: Nanocredits } | undefined }
}

/** A paid call before it is made. */
export interface PlannedCall {
  callId: string
  /** Planned at, milliseconds since 1970. The budget windows of this time are charged. */
  at: number
  caller: Caller
  requestId: string
  cacheKey: CacheKey
  purchase: PurchaseKind
  image?: SentImage
}

/**
 * Credits reserved for a call. `settle`, `release` or `unknown` ends it; any further call of these
 * changes nothing.
 */
export interface Reservation {
  /**
   * Returns what `settle` books for this bill: Segmind's cost, else the balance's change, else the
   * estimate.
   */
  costOf(bill: Bill): Promise<Nanocredits>
  /**
   * Reserves again before the call is sent, if the price has risen since. Throws the errors of
   * `Ledger.reserve`; then nothing is reserved.
   */
  recheck(): Promise<void>
  /** Adds facts about the call before it ends. */
  describe(known: { pixelKey: string }): void
  /**
   * Records that Segmind accepted the call as a job, so that a successor polls it instead of
   * submitting another.
   */
  submitted(jobId: string): Promise<void>
  /** Books the cost of a billed call, and returns it. */
  settle(bill: Bill): Promise<Nanocredits>
  /** Returns the credits: Segmind surely did not bill. */
  release(bill?: Bill): Promise<void>
  /** Keeps the estimate booked: the request was sent, and its outcome is unknown. */
  unknown(bill?: Bill): Promise<void>
}

export interface Ledger {
  /**
   * Reserves the estimate. Throws `budget_exhausted`, `credits_reserved`, or for a team with a
   * budget `store_unavailable`.
   */
  reserve(call: PlannedCall): Promise<Reservation>
  /**
   * Finds the call of an earlier leader; undefined when it never reserved or has released. Rejects
   * with `StoreError`.
   */
  find(callId: string, at: number): Promise<EarlierCall | undefined>
}

/** A call left by a process that died, or that gave up waiting for its job. */
export interface EarlierCall {
  state: 'reserved' | 'charged' | 'unknown'
  /** Milliseconds since 1970. */
  at: number
  team: string
  /** The result it was made for. */
  cacheKey: CacheKey
  jobId?: string
  /** Ends the call in place of the process that reserved it. */
  reservation: Reservation
}
