import type { Nanocredits } from './nanocredits.js'

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
  /** The image that was sent: pixels as stored, and its bytes. */
  image?: { width: number; height: number; bytes: number }
  /** Equal for equal pixels and parameters, whatever the bytes (`PIXEL_DIGEST`). */
  pixelKey?: string
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
  /** Who said so; `balance`: what the account lost by this call, which was the only one under way. */
  costSource: 'header' | 'balance' | 'estimate'
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
  /** What has to be left of the account's balance, as far as it is known, when all that is reserved is paid. */
  floor?: Nanocredits
}

/** What a team has booked, including what is only reserved. */
export interface Booked {
  daily: Nanocredits
  monthly: Nanocredits
}

export type ReserveOutcome = { booked: Booked; account: AccountBook } & (
  | { ok: true }
  | { ok: false; window: 'daily' | 'monthly' | 'floor' }
)

/** All teams together since the ledger was begun, in one look. */
export interface AccountBook {
  /** Counts every step that changed anything: the same in two looks means that nothing happened between them. */
  sequence: number
  /** Charged and unknown. */
  spent: Nanocredits
  reserved: Nanocredits
  reservedCalls: number
  /** Calls that are charged or unknown, and those of them whose cost is an estimate. */
  calls: number
  estimatedCalls: number
  /** When a call last ended as unknown, milliseconds since 1970; 0 for never. */
  unknownAt: number
}

/** The account's balance as Segmind last said it. */
export interface BalanceSample {
  remaining: Nanocredits
  /** When the answer came, milliseconds since 1970. */
  at: number
  /** When the question went out: what other answers said after that may be newer than this. */
  since?: number
  /** How much of the difference between two answers that overlap may be calls of ours; more than that is a top-up. */
  slack?: Nanocredits
}

/** A team's use of an answer that another one paid for. */
export interface SharedUse {
  resultId: string
  /** When it was bought, milliseconds since 1970: a later purchase of the same answer is shared anew. */
  boughtAt: number
  payer: string
  cost: Nanocredits
  team: string
  day: string
  /** How long it is remembered who shares it. */
  ttlSeconds: number
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
  /** What it owes to others for answers they paid for (> 0), or is owed (< 0), where shared answers are split; adds up to 0 over all teams. */
  shared: Nanocredits
}

/** Durable, never evicted. Each method is one atomic step, idempotent by `callId`. */
export interface LedgerStore {
  /** Books the estimate against both windows when every limit holds (booked + estimate ≤ limit), else changes nothing and names the first that does not. */
  reserve(call: CallEntry, limits: BudgetLimits): Promise<ReserveOutcome>
  /** Writes what has become known about a reserved call (its job); creates the entry when the reservation never arrived. A settled one is left as it is. */
  note(call: CallEntry): Promise<void>
  /**
   * Replaces the estimate by the cost. Creates the entry when the reservation never arrived (store was down). `charged` is final: it replaces
   * `reserved` and `unknown`, and a second one changes nothing; `unknown` replaces only `reserved`. Answers the account as it is after it.
   */
  settle(call: CallEntry, settled: SettledCall): Promise<AccountBook>
  /**
   * Takes an entry that is reserved or unknown out again; one that is charged is left as it is. `mayStillArrive` leaves a mark in its place
   * that makes a reservation or an unknown end of this call, when they arrive late, book nothing.
   */
  release(call: CallEntry, options?: { mayStillArrive: boolean }): Promise<void>
  entry(day: string, callId: string): Promise<LedgerEntry | undefined>
  /** Entries still reserved that were reserved at `before` (milliseconds since 1970) or earlier, oldest first, at most `limit`. */
  open(before: number, limit: number): Promise<LedgerEntry[]>
  /** Entries that ended as unknown at `since` or later and still are, oldest first, at most `limit`. */
  unknown(since: number, limit: number): Promise<LedgerEntry[]>
  account(): Promise<AccountBook>
  /** What the last calls cost whose cost was told, newest first, at most 200. */
  recentCosts(): Promise<Nanocredits[]>
  booked(team: string, windows: { day: string; month: string }): Promise<Booked>
  addActivity(team: string, day: string, activity: TeamActivity): Promise<void>
  /**
   * A further team shares a purchase: with n teams each bears the nth part of it, the payer the rest of the division, booked as transfers on
   * the day of the use. A team that shares it already changes nothing.
   */
  share(use: SharedUse): Promise<void>
  /** All teams (or one) on the days of a month `2026-11`, by day, then team. */
  usage(month: string, team?: string): Promise<UsageDay[]>
  /** Entries of one day, in no particular order. */
  entries(day: string): Promise<LedgerEntry[]>
  /**
   * Keeps the newest sample: one that is older than what is there is ignored. But of two whose questions overlapped, in whatever order they
   * are recorded, the lower balance is kept unless they differ by more than `slack`: answers of concurrent calls arrive out of order.
   */
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
