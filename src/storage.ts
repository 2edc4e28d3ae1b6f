import type { Nanocredits } from './nanocredits.js'

/**
 * What a store of ours can do: Redis and the embedded one behave alike, and one suite is run against both.
 * Every method rejects with `StoreError` when the store cannot be reached *soon* (see `redis/`): callers decide what that means
 * (the cache fails open, the ledger fails closed).
 */
export interface Store {
  readonly results: BlobStore
  readonly images: BlobStore
  readonly ledger: LedgerStore
  readonly leases: LeaseStore
  /** Whether the store answered when it was last asked. */
  isUp(): boolean
  /** Entries and bytes held for `results` and `images` together, where the store can tell cheaply. */
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
}

/** `meta` is JSON text. */
export interface Blob {
  meta: string
  body: Buffer
}

/** Money of one call. Amounts are integers of 10⁻⁹ credit. */
export interface CallEntry {
  callId: string
  team: string
  keyId: string
  requestId: string
  /** Reserved at, milliseconds since 1970. */
  at: number
  /** The windows it is booked in, in `BUDGET_TIMEZONE`: `2026-11-22`, `2026-11`. */
  day: string
  month: string
  /** The cache key of what was bought. */
  resultId: string
  estimate: Nanocredits
  /** Why it was bought; absent means `first`. */
  purchase?: PurchaseKind
  /** Segmind's id of a job that was submitted and is polled (`SEGMIND_API=v2`). */
  jobId?: string
}

/**
 * Why a call was made, and so why one result may have been paid for twice: `first` · `takeover`: the process that was buying it died ·
 * `unguarded`: the store could not tell whether anybody was buying it · `uncoalesced`: `COALESCE=off` · `no-cache`, `no-store`: the caller
 * wanted no cached answer, or none kept.
 */
export type PurchaseKind = 'first' | 'takeover' | 'unguarded' | 'uncoalesced' | 'no-cache' | 'no-store'

/** Where an entry ends: `charged` with its cost, or `unknown` (booked with the estimate until reconciled). */
export interface SettledCall {
  outcome: 'charged' | 'unknown'
  cost: Nanocredits
  /** Who said so. */
  costSource: 'header' | 'estimate'
  settledAt: number
  upstreamRequestId?: string
}

export interface LedgerEntry extends CallEntry {
  state: 'reserved' | 'charged' | 'unknown'
  settled?: SettledCall
}

/** Upper bounds on what a team may have booked (charged + unknown + reserved) per window; absent = none. */
export interface BudgetLimits {
  daily?: Nanocredits
  monthly?: Nanocredits
}

/** What a team has booked, including what is only reserved. */
export interface Booked {
  daily: Nanocredits
  monthly: Nanocredits
}

export type ReserveOutcome = { ok: true; booked: Booked } | { ok: false; window: 'daily' | 'monthly'; booked: Booked }

/** The account's balance as Segmind last said it. */
export interface BalanceSample {
  remaining: Nanocredits
  at: number
}

/** Counters of one team on one day that are no money entries: what the cache gave and saved. Added up, may be flushed in batches. */
export interface TeamActivity {
  requests: number
  hits: number
  coalesced: number
  savedByCache: Nanocredits
  savedByCoalescing: Nanocredits
}

/** One team's day: its calls added up, and its activity. */
export interface UsageDay extends TeamActivity {
  team: string
  day: string
  paidCalls: number
  charged: Nanocredits
  unknownCalls: number
  unknown: Nanocredits
  reservedCalls: number
  reserved: Nanocredits
}

/** Durable, never evicted. Each method is one atomic step, idempotent by `callId`. */
export interface LedgerStore {
  /** Books the estimate against both windows when every limit holds (booked + estimate ≤ limit), else changes nothing and names the first that does not. */
  reserve(call: CallEntry, limits: BudgetLimits): Promise<ReserveOutcome>
  /** Writes what has become known about a reserved call (its job); creates the entry when the reservation never arrived. A settled one is left as it is. */
  note(call: CallEntry): Promise<void>
  /**
   * Replaces the estimate by the cost. Creates the entry when the reservation never arrived (store was down). `charged` is final: it replaces
   * `reserved` and `unknown`, and a second one changes nothing; `unknown` replaces only `reserved`.
   */
  settle(call: CallEntry, settled: SettledCall): Promise<void>
  /**
   * Takes an entry that is reserved or unknown out again; one that is charged is left as it is. `mayStillArrive` leaves a mark in its place
   * that makes a reservation or an unknown end of this call, when they arrive late, book nothing.
   */
  release(call: CallEntry, options?: { mayStillArrive: boolean }): Promise<void>
  entry(day: string, callId: string): Promise<LedgerEntry | undefined>
  /** Entries still reserved that were reserved at `before` (milliseconds since 1970) or earlier, oldest first, at most `limit`. */
  open(before: number, limit: number): Promise<LedgerEntry[]>
  booked(team: string, windows: { day: string; month: string }): Promise<Booked>
  addActivity(team: string, day: string, activity: TeamActivity): Promise<void>
  /** All teams (or one) on the days of a month `2026-11`, by day, then team. */
  usage(month: string, team?: string): Promise<UsageDay[]>
  /** Entries of one day, in no particular order. */
  entries(day: string): Promise<LedgerEntry[]>
  /** Keeps the newest sample: one that is older than what is there is ignored. */
  recordBalance(sample: BalanceSample): Promise<void>
  balance(): Promise<BalanceSample | undefined>
}

/** A step of the ledger as it can be written down and done later, by this process or another. Doing one twice changes nothing. */
export type LedgerStep =
  | { kind: 'reserve' | 'note'; call: CallEntry }
  | { kind: 'settle'; call: CallEntry; settled: SettledCall }
  | { kind: 'release'; call: CallEntry; mayStillArrive: boolean }

/** Steps that wait for the store, in the order they were added. Those on disk outlive the process, and every process of the machine sees them. */
export interface StepSpool {
  /** Resolves when the step is as safe as it can be. */
  add(step: LedgerStep): Promise<void>
  all(): Promise<{ id: string; step: LedgerStep }[]>
  remove(id: string): Promise<void>
  close(): Promise<void>
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
