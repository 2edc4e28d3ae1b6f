import type { LedgerStore } from './ledger.js'
import type { LedgerBooks } from './ledger-books.js'
import type { MaybePromise } from './maybe-promise.js'
import type { ScheduleStore } from './schedule.js'

export type * from './ledger.js'
export type * from './ledger-books.js'

/**
 * A store. The Redis and the embedded implementation behave alike and pass the same test suite.
 * Every method rejects with `StoreError` when the store fails or stays silent (see
 * `store/redis/gate.ts`). The caller decides what follows: the cache fails open, the ledger fails
 * closed.
 */
export interface Store {
  readonly results: BlobStore
  readonly images: BlobStore
  /** Explanations of finished requests by request id, kept for a day. */
  readonly requests: BlobStore
  readonly ledger: LedgerStore & LedgerBooks
  readonly records: RecordStore
  readonly leases: LeaseStore
  readonly schedule: ScheduleStore
  /** Returns whether the store can serve: it answers, and it can write. */
  isUp(): boolean
  /** Returns whether the store may evict the ledger. */
  mayEvict(): boolean
  /**
   * Counts entries and bytes of `results`, `images` and `requests`; undefined where counting is
   * expensive.
   */
  size(): Promise<{ entries: number; bytes: number } | undefined>
  close(): Promise<void>
}

/** A store operation failed: the store is down, frozen, full or broken. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  /**
   * False when the operation certainly had no effect. True when it may have had one, or may still
   * have one.
   */
  readonly mayHaveHappened: boolean
  /** True when the operation will never succeed, however often it is repeated. */
  readonly isFinal: boolean

  constructor(message: string, options: ErrorOptions & { mayHaveHappened?: boolean; isFinal?: boolean } = {}) {
    super(message, options)
    this.mayHaveHappened = options.mayHaveHappened ?? true
    this.isFinal = options.isFinal ?? false
  }
}

/**
 * Bytes with a short description. An entry lives for at most `ttlSeconds` and may be evicted
 * earlier.
 */
export interface BlobStore {
  get(key: string): Promise<Blob | undefined>
  /** Once it has resolved, the caller may free or overwrite the body. After a failure it may not. */
  put(key: string, blob: Blob, ttlSeconds: number): Promise<void>
  has(key: string): Promise<boolean>
  delete(key: string): Promise<boolean>
  /** Deletes all entries and returns their number. Entries written meanwhile may survive. */
  clear(): Promise<number>
}

/** `meta` is JSON text. */
export interface Blob {
  meta: string
  body: Buffer
}

/**
 * Small texts shared by all processes, changed by compare and set. Durable;
 * a record with a time to live may also be evicted before it expires.
 */
export interface RecordStore {
  get(key: string): Promise<SharedRecord | undefined>
  /**
   * Writes only if the current version is `expectedVersion` ('' for no record). Returns whether it
   * wrote.
   */
  put(key: string, value: string, expectedVersion: string, ttlSeconds?: number): Promise<boolean>
  /** Deletes only if the current version is `expectedVersion`. Returns whether it deleted. */
  delete(key: string, expectedVersion: string): Promise<boolean>
}

export interface SharedRecord {
  value: string
  /** Changes with every write. */
  version: string
}

/**
 * Leases: for each name, one process at a time buys the result. The holder renews its lease every
 * second. A follower that reads a working store and sees no heartbeat for some time takes the lease
 * over. The time to live only removes abandoned leases.
 */
export interface LeaseStore {
  /**
   * Takes the lease of a name that is free or released. With `from`, takes it from a holder whose
   * token and heartbeat are still those of `from`. Returns `taken` to the current holder as well.
   */
  acquire(claim: LeaseClaim, from?: LeaseSnapshot): Promise<AcquireOutcome>
  /**
   * Counts a heartbeat for each lease, and takes it again if the store lost it or it was released.
   * Returns for each claim whether it holds its name.
   */
  renew(claims: readonly LeaseClaim[]): Promise<boolean[]>
  /**
   * Ends a lease, notifies its followers and keeps `outcome` for `keepMs`. Does nothing for another
   * holder's lease.
   */
  release(claim: LeaseClaim, outcome: string, keepMs: number): Promise<void>
  read(name: string): Promise<LeaseSnapshot | undefined>
  /**
   * Calls `onReleased` when the lease is released; returns a function that stops this.
   * A notification may be lost, so a follower also reads the lease every `pollMs`.
   */
  watch(name: string, onReleased: () => void): () => void
  readonly pollMs: number
}

export interface LeaseClaim {
  name: string
  /** Unique to one holder. */
  token: string
  /** Information for a successor. */
  note: string
  ttlMs: number
}

/** Counts in windows of fixed length, such as the requests of a minute. */
export interface RateCounts {
  /**
   * Adds `amount` to the count of a name in one atomic step, if the sum is at most `max`; otherwise
   * changes nothing. Returns the sum, counted or not, and the rest of the window; a promise where the
   * counts are in a store. An amount of 0 reads the count. Rejects with `StoreError`.
   */
  take(name: string, amount: number, window: { max: number; windowMs: number }): MaybePromise<RateCount>
}

export interface RateCount {
  sum: number
  endsInMs: number
}

/** State of a lease at one moment. */
export interface LeaseSnapshot {
  token: string
  /** Counter that the holder increases with every renewal. */
  heartbeat: number
  note: string
  /** Present once the lease is released. */
  outcome?: string
}

/**
 * `taken`: `previous` is the lease before, if it was taken over or released lately. `isStored` is
 * true if `results` has an entry of that name, as of the same atomic step; it is absent if the
 * store cannot tell. `recovering`: the store is new or was emptied; holders elsewhere have `waitMs`
 * to renew their leases first.
 */
export type AcquireOutcome =
  | { kind: 'taken'; previous?: LeaseSnapshot; isStored?: boolean }
  | { kind: 'held'; snapshot: LeaseSnapshot }
  | { kind: 'recovering'; waitMs: number }
