import type { LedgerStore } from './books.js'

export type * from './books.js'

/**
 * What a store of ours can do: Redis and the embedded one behave alike, and one suite is run against both.
 * Every method rejects with `StoreError` when the store cannot be reached *soon* (see `redis/`): callers decide what that means
 * (the cache fails open, the ledger fails closed).
 */
export interface Store {
  readonly results: BlobStore
  readonly images: BlobStore
  /** What became of each request, for a day: by request id. */
  readonly requests: BlobStore
  readonly ledger: LedgerStore
  readonly records: RecordStore
  readonly leases: LeaseStore
  /** Whether the store answered when it was last asked. */
  isUp(): boolean
  /** Entries and bytes held for `results`, `images` and `requests` together, where the store can tell cheaply. */
  size(): Promise<{ entries: number; bytes: number } | undefined>
  close(): Promise<void>
}

/** The store did not do it: down, frozen, full, broken. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  /** False where the step surely did not happen; else it may have, or may still. */
  readonly mayHaveHappened: boolean

  constructor(message: string, options: ErrorOptions & { mayHaveHappened?: boolean } = {}) {
    super(message, options)
    this.mayHaveHappened = options.mayHaveHappened ?? true
  }
}

/** Bytes with a small description, evictable: kept at most `ttlSeconds`, and no longer than there is room. */
export interface BlobStore {
  get(key: string): Promise<Blob | undefined>
  put(key: string, blob: Blob, ttlSeconds: number): Promise<void>
  has(key: string): Promise<boolean>
  delete(key: string): Promise<boolean>
  /** Takes out all there are; what is put meanwhile may stay. Answers how many went. */
  clear(): Promise<number>
}

/** `meta` is JSON text. */
export interface Blob {
  meta: string
  body: Buffer
}

/**
 * Small texts that all processes share, each replaced only by one who has seen the last (compare and set). Durable; one with a time to live is
 * gone after it, and may be evicted.
 */
export interface RecordStore {
  get(key: string): Promise<SharedRecord | undefined>
  /** Writes when the record still is as it was seen: its `version`, or '' for none. Answers whether it was written. */
  put(key: string, value: string, seen: string, ttlSeconds?: number): Promise<boolean>
  /** Takes it out when it still is as it was seen. Answers whether it was. */
  delete(key: string, seen: string): Promise<boolean>
}

export interface SharedRecord {
  value: string
  /** Another one after every write. */
  version: string
}

/**
 * Names that one process holds at a time: whoever buys the answer of that name. A holder says every second that it lives (`beat`); whoever waits
 * for it and sees, with a store that answers, no beat for some time, takes the name over. The time to live only cleans up.
 */
export interface LeaseStore {
  /**
   * Takes a name that nobody holds or that has landed; with `from`, one that still stands as it was seen. Answers `taken` also to the holder itself.
   * `settling`: the store is new or was emptied; who holds a name elsewhere needs `waitMs` to say so first.
   */
  acquire(claim: LeaseClaim, from?: LeaseSight): Promise<AcquireOutcome>
  /** Says that the holders live, and takes names again that the store has lost or that have landed; answers for each whether it holds its name. */
  beat(claims: readonly LeaseClaim[]): Promise<boolean[]>
  /** Ends a lease, tells those who wait, and leaves `parting` for `keepMs`. Nothing happens when somebody else holds the name. */
  land(claim: LeaseClaim, parting: string, keepMs: number): Promise<void>
  look(name: string): Promise<LeaseSight | undefined>
  /** Calls back when the name has landed. A hint that may be missed: whoever waits also looks every `pollMs`. Answers how to stop. */
  watch(name: string, onLanded: () => void): () => void
  readonly pollMs: number
}

export interface LeaseClaim {
  name: string
  /** Of this one holder and no other. */
  token: string
  /** What a successor has to know. */
  note: string
  ttlMs: number
}

/** How a name stands. `parting` is there once it has landed. */
export interface LeaseSight {
  token: string
  /** Counts up while the holder lives. */
  beat: number
  note: string
  parting?: string
}

export type AcquireOutcome =
  /** `before`: how it stood, where it had landed lately or was taken over. */
  { kind: 'taken'; before?: LeaseSight } | { kind: 'held'; sight: LeaseSight } | { kind: 'settling'; waitMs: number }
