import type { Nanocredits } from './nanocredits.js'
import type { Size } from './types.js'

/** The image that was sent: stored size in pixels, and its byte length. */
export type SentImage = Size & { bytes: number }

/** One paid call as the ledger books it. */
export interface CallEntry extends BudgetWindows {
  callId: string
  team: string
  keyId: string
  requestId: string
  /** Time of the reservation, milliseconds since 1970. */
  at: number
  /** The cache key of the purchased result. */
  resultId: string
  estimate: Nanocredits
  /** Absent means `first`. */
  purchase?: PurchaseKind
  /** Segmind's id of a submitted job that is polled (`SEGMIND_API=v2`). */
  jobId?: string
  image?: SentImage
  /**
   * Like `resultId`, of the image as it was sent. Present if metadata was removed
   * (`STRIP_METADATA`).
   */
  sentKey?: string
  /** Equal for equal pixels and parameters, whatever the encoding of the image (`PIXEL_DIGEST`). */
  pixelKey?: string
}

/**
 * Reason for a call, which explains why one result may be paid for twice:
 * - `first`
 * - `takeover`: the process that was purchasing the result died
 * - `unguarded`: the store could not tell whether another process was purchasing the result
 * - `uncoalesced`: `COALESCE=off`
 * - `no-cache`, `no-store`: the caller refused a cached result (also with `max-age`), or refused to
 *   have one stored
 */
export type PurchaseKind = 'first' | 'takeover' | 'unguarded' | 'uncoalesced' | 'no-cache' | 'no-store'

/**
 * The end of a call: `charged` with its cost, or `unknown` (booked with the estimate until
 * reconciled).
 */
export interface SettledCall {
  outcome: 'charged' | 'unknown'
  cost: Nanocredits
  /**
   * Source of `cost`. `balance`: the balance dropped by it while no other call was in flight.
   * `history`: Segmind's request history.
   */
  costSource: 'header' | 'balance' | 'estimate' | 'history'
  settledAt: number
  upstreamRequestId?: string
}

export interface LedgerEntry extends CallEntry {
  state: 'reserved' | 'charged' | 'unknown'
  settled?: SettledCall
}

/**
 * Upper bounds on the amounts a team may have booked (charged + unknown + reserved) per window.
 * Absent: no bound.
 */
export interface BudgetLimits {
  daily?: Nanocredits
  monthly?: Nanocredits
  /** Lower bound on the account's known balance after all reservations have been paid. */
  floor?: Nanocredits
}

export type BudgetWindow = 'daily' | 'monthly'

/** The budget windows a call is booked in, in `BUDGET_TIMEZONE`: `2026-11-22`, `2026-11`. */
export interface BudgetWindows {
  day: string
  month: string
}

/** Amounts a team has booked, reservations included. */
export interface Booked {
  daily: Nanocredits
  monthly: Nanocredits
}

/** `lost`: the ledger is not whole, so that no limit can be checked. */
export type ReserveOutcome = { booked: Booked; totals: LedgerTotals } & (
  | { ok: true }
  | { ok: false; window: BudgetWindow | 'floor' | 'lost' }
)

/** A state of the ledger that a process has seen. The ledger must never fall behind it. */
export interface LedgerWitness {
  /** Random id, written by the first step into an empty ledger. Empty before. */
  epoch: string
  /**
   * Counts every step that changed anything. Equal in two reads means that nothing changed between
   * them.
   */
  sequence: number
  /** A chain over all steps: equal epoch and sequence must have an equal checksum. */
  checksum: string
}

/**
 * Evidence that the ledger is not whole:
 * - `replaced`: it has another epoch, or none: it was emptied, or another one took its place
 * - `rolled back`: it has fewer steps than it had
 * - `altered`: it has as many steps as it had, but not the same ones
 * - `incomplete`: the sums of a day or a month are missing or older than the rest
 */
export interface LedgerLoss {
  reason: 'replaced' | 'rolled back' | 'altered' | 'incomplete'
  /** The last state that the process had seen. Its epoch is empty if it had seen none. */
  expected: LedgerWitness
  found: LedgerWitness
}

/** `evictable`: the store may evict the ledger, so that it may be lost at any time. */
export type LedgerState = 'ok' | 'lost' | 'evictable'

/** All teams together since the ledger began, read in one atomic step. */
export interface LedgerTotals extends LedgerWitness {
  /** Present from the discovery of a loss until an operator accepts it. */
  loss?: LedgerLoss
  /** Charged and unknown. */
  spent: Nanocredits
  reserved: Nanocredits
  reservedCalls: number
  /** Calls that are charged or unknown, and the share of them whose cost is an estimate. */
  calls: number
  estimatedCalls: number
  /** When the latest call ended as unknown, milliseconds since 1970; 0 for never. */
  unknownAt: number
}

/** A balance that Segmind reported. */
export interface BalanceReading {
  remaining: Nanocredits
  /** Time of the response, milliseconds since 1970. */
  at: number
}

/** A reading together with what orders it among overlapping ones. */
export interface BalanceSample extends BalanceReading {
  /** Time of the request. Responses received after it may be newer than this reading. */
  since?: number
  /**
   * Largest difference between overlapping readings that calls of this gateway can explain. A
   * larger one is a top-up.
   */
  slack?: Nanocredits
}

/** A team's use of a result that another team paid for. */
export interface SharedUse {
  resultId: string
  /**
   * Time of the purchase, milliseconds since 1970. A later purchase of the same result is shared
   * separately.
   */
  boughtAt: number
  payer: string
  cost: Nanocredits
  team: string
  day: string
  /** Time for which the store remembers the users of the purchase. */
  ttlSeconds: number
}

/**
 * Counters of one team's day that are not ledger entries: cache use and savings. Added up, so they
 * may be flushed in batches.
 */
export interface TeamActivity {
  requests: number
  hits: number
  coalesced: number
  savedByCache: Nanocredits
  savedByCoalescing: Nanocredits
}

/** One team's day: the sums of its calls, and its activity. */
export interface UsageDay extends TeamActivity {
  team: string
  day: string
  paidCalls: number
  charged: Nanocredits
  unknownCalls: number
  unknown: Nanocredits
  reservedCalls: number
  reserved: Nanocredits
  /**
   * Owed to other teams for results they paid for (> 0), or owed by them (< 0). Adds up to 0 over
   * all teams.
   */
  shared: Nanocredits
}

/**
 * Durable and never evicted. Each method is one atomic step, idempotent by `callId`. In a day that
 * was rolled up, `note` and `settle` of a call without an entry reject with a final `StoreError`.
 */
export interface LedgerStore {
  /**
   * Books the estimate against both windows if every limit holds (booked + estimate ≤ limit).
   * Otherwise changes nothing and returns the first limit that does not hold. A ledger that is
   * behind `witness`, or is marked as lost, refuses a call with a daily or monthly limit. Only for
   * new calls: one that may have been booked before is noted, since its entry may have been rolled
   * up.
   */
  reserve(call: CallEntry, limits: BudgetLimits, witness?: LedgerWitness): Promise<ReserveOutcome>
  /**
   * Adds facts about a reserved call, such as its job. Creates the entry if the reservation never
   * arrived. Leaves a settled entry unchanged.
   */
  note(call: CallEntry): Promise<void>
  /**
   * Replaces the estimate by the cost, and returns the totals after it. Creates the entry if the
   * reservation never arrived because the store was down. `charged` replaces `reserved`, `unknown`
   * and, if its cost is no estimate, a `charged` whose cost is one. Any other second `charged`
   * changes nothing. `unknown` replaces only `reserved`. A ledger that is behind `witness` is
   * marked as lost.
   */
  settle(call: CallEntry, settled: SettledCall, witness?: LedgerWitness): Promise<LedgerTotals>
  /**
   * Removes an entry that is reserved or unknown, and returns whether there was one. Leaves a
   * charged one unchanged. `mayStillArrive` leaves a mark in place of the entry: a reservation or
   * an unknown end of this call that arrives later then books nothing.
   */
  release(call: CallEntry, options?: { mayStillArrive: boolean }): Promise<boolean>
  entry(day: string, callId: string): Promise<LedgerEntry | undefined>
  /**
   * Entries still reserved whose reservation was made at `before` (milliseconds since 1970) or
   * earlier, oldest first, at most `limit`.
   */
  reservedBefore(before: number, limit: number): Promise<LedgerEntry[]>
  /**
   * Entries that ended as unknown at `since` or later and still are, oldest first, at most `limit`.
   */
  unknownSince(since: number, limit: number): Promise<LedgerEntry[]>
  /**
   * Returns the totals, with the loss of a ledger that is behind `witness`, or that lacks sums of
   * `windows`. `isMarking` also marks it as lost, for all processes.
   */
  totals(witness?: LedgerWitness, options?: { isMarking?: boolean; windows?: BudgetWindows }): Promise<LedgerTotals>
  /** The latest costs that Segmind reported, newest first, at most 200. */
  recentCosts(): Promise<Nanocredits[]>
  booked(team: string, windows: BudgetWindows): Promise<Booked>
  addActivity(team: string, day: string, activity: TeamActivity): Promise<void>
  /**
   * Lets one more team share a purchase. With n teams each pays the nth part, and the payer also
   * pays the remainder of the division. The parts are booked as transfers on the day of the use.
   * Changes nothing for a team that shares it already.
   */
  share(use: SharedUse): Promise<void>
  /** The days of a month `2026-11` of all teams (or one), ordered by day, then team. */
  usage(month: string, team?: string): Promise<UsageDay[]>
  /**
   * Reads the entries of one day in pages, in no particular order. While the day changes, an entry
   * may be missing or repeated.
   */
  entries(day: string): AsyncIterable<LedgerEntry[]>
  /**
   * Keeps the newest sample and ignores an older one. Responses of concurrent calls arrive out of
   * order, so of two samples that overlap in time the lower balance is kept, unless they differ by
   * more than `slack`.
   */
  recordBalance(sample: BalanceSample): Promise<void>
  balance(): Promise<BalanceSample | undefined>
}

/**
 * A step of the ledger that can be written down and applied later, by any process. Applying it
 * twice changes nothing.
 */
export type LedgerStep =
  | { kind: 'reserve' | 'note'; call: CallEntry }
  | { kind: 'settle'; call: CallEntry; settled: SettledCall }
  | { kind: 'release'; call: CallEntry; mayStillArrive: boolean }

/**
 * Steps that wait for the store, in the order they were added. Steps on disk outlive the process
 * and are visible to every process of the machine.
 */
export interface StepSpool {
  /** Resolves once the step is written. */
  add(step: LedgerStep): Promise<void>
  all(): Promise<{ id: string; step: LedgerStep }[]>
  remove(id: string): Promise<void>
  close(): Promise<void>
}
