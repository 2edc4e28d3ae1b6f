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
}

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
  /** Replaces the estimate by the cost. Creates the entry when the reservation never arrived (store was down). A second time changes nothing. */
  settle(call: CallEntry, settled: SettledCall): Promise<void>
  /** Takes a reserved entry out again. One that is settled, or not there, is left as it is. */
  release(call: CallEntry): Promise<void>
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
