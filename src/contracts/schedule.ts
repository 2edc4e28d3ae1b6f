/**
 * Slots at the upstream, and the queue for them, of all processes that share an account. One atomic
 * step applies the changes of one process, and then grants free slots to waiting entries of any
 * process. Every decision uses the clock of the store.
 */
export interface ScheduleStore {
  /** Rejects with `StoreError`. A repeated change has no further effect. */
  step(change: ScheduleChange, limits: ScheduleLimits): Promise<ScheduleView>
  /** Returns what `step` would return, and changes nothing. Rejects with `StoreError`. */
  forecast(change: ScheduleChange, limits: ScheduleLimits): Promise<ScheduleView>
  /**
   * Calls `onNotice` when another process changed an entry of this process; returns a function that
   * stops this. A notice may be lost.
   */
  watch(process: string, onNotice: () => void): () => void
  /** Interval of polls, where a store sends no notices to other processes. */
  readonly pollMs?: number
}

export interface ScheduleLimits {
  /** Calls at the upstream at once (`SEGMIND_MAX_CONCURRENCY`). */
  slots: number
  /** Waiting entries of all processes together (`QUEUE_MAX`). */
  maxWaiting: number
  /** Calls a minute (`SEGMIND_REQUESTS_PER_MINUTE`); 0 for no limit. */
  perMinute: number
  /** Time after the last step of a process until its entries count as abandoned. */
  ttlMs: number
}

/** Changes of one process. */
export interface ScheduleChange {
  process: string
  enter: readonly NewScheduleEntry[]
  /** Entries that end: they release their slot, or leave the queue. */
  leave: readonly { id: number; usedMs?: number }[]
  /** The upstream refused a call for its rate. `waitMs`: the wait it asked for. */
  throttled?: { waitMs?: number }
}

/** Order within a team: a refused call first, then interactive requests, then those of batches. */
export const RANK = { resend: 0, interactive: 1, batch: 2 } as const

export interface NewScheduleEntry {
  /** Unique within the process. */
  id: number
  team: string
  rank: number
  /** Virtual time of one slot: `SLOT_COST` divided by the team's weight, an integer. */
  cost: number
  /** Slots that the team may use at once; absent for no limit of its own. */
  concurrent?: number
  /** The process holds a slot for it already; it was granted while the store did not answer. */
  isRunning?: true
}

export const SLOT_COST = 1_000_000

export type ScheduleEntryState = 'waiting' | 'running' | 'dropped'

/** State after a step, as the calling process sees it. */
export interface ScheduleView {
  /** States of the process's own entries. `dropped`: another request took the place in the queue. */
  own: ReadonlyMap<number, ScheduleEntryState>
  /** Waiting entries of all processes. */
  waiting: number
  /** True while other processes use the schedule. */
  isShared: boolean
  /** Expected wait of an own waiting entry; undefined for any other. */
  placeOf(id: number): SchedulePlace | undefined
  /** Time until the pacer permits the next call; 0 when it permits one now. */
  pacedMs: number
}

export interface SchedulePlace {
  /** 1 for the next entry to be granted. */
  position: number
  /** Expected wait for a slot; undefined until a slot has been released. */
  slotWaitMs?: number
  /** Wait that the pacer imposes. */
  pacedMs: number
  /** True while the upstream limits the rate. */
  isThrottled: boolean
}
