import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../contracts/clock.js'
import type { RecordStore } from '../../contracts/store.js'
import { PeriodicRun } from '../periodic-run.js'
import type { BudgetCalendar } from '../windows.js'
import type { VerifierObserver } from './verifier.js'
import { type VerifiedLedger, verifyDay } from './verify.js'

export interface RetentionObserver extends VerifierObserver {
  /** The entries of a day were rolled up: all that were left, or those that were settled since. */
  dayRolledUp(day: string, calls: number): void
  /** A day is kept although it is old, because its sums differ from its entries. Called once per process. */
  dayNotRolledUp(day: string): void
}

export interface RetentionOptions {
  store: { ledger: VerifiedLedger; records: RecordStore }
  /** `LEDGER_RETENTION_DAYS`; 0 keeps every entry. */
  retentionDays: number
  calendar: BudgetCalendar
  /** Returns true if the ledger is `ok`. In any other state no entry is removed. */
  isWhole(): boolean
  /** The clock that all replicas share. */
  now: Clock
  observer: RetentionObserver
  /** Time between two rounds of all replicas together, milliseconds. Default: 1 h. */
  rollUpEveryMs?: number
  /** Pause after each step, in which other processes write. Default: 10 ms. */
  pauseMs?: number
}

const RECORD = 'ledger:retention'
const EVERY_MS = 3_600_000
const PAUSE_MS = 10
const DAY_MS = 86_400_000

/**
 * Rolls up days that are older than the retention time: removes their settled calls, and leaves a mark of
 * them. One replica at a time does it. Calls that are reserved or unknown stay until they are settled.
 */
export class Retention {
  readonly #options: RetentionOptions
  readonly #everyMs: number
  readonly #periodic: PeriodicRun
  readonly #reported = new Set<string>()

  constructor(options: RetentionOptions) {
    this.#options = options
    this.#everyMs = options.rollUpEveryMs ?? EVERY_MS
    const onFailed = (error: unknown) => options.observer.storeFailed(error, 'ledger: roll up')
    this.#periodic = new PeriodicRun({ run: () => this.#run(), everyMs: this.#everyMs, onFailed })
  }

  start(): void {
    if (this.#options.retentionDays > 0) this.#periodic.startLater()
  }

  /** Rolls up what is due, unless another replica does. Never rejects. */
  rollUp(): Promise<void> {
    return this.#periodic.now()
  }

  /** Stops after the current step. */
  close(): Promise<void> {
    return this.#periodic.close()
  }

  async #run(): Promise<void> {
    if (this.#options.retentionDays === 0 || this.#isStopped() || !(await this.#claim())) return
    for (const day of await this.#dueDays()) {
      if (this.#isStopped()) return
      await this.#rollUp(day)
    }
  }

  #isStopped(): boolean {
    return this.#periodic.isClosed || !this.#options.isWhole()
  }

  /** Returns false if another replica was faster. Two that roll up the same day do no harm. */
  async #claim(): Promise<boolean> {
    const { store, now } = this.#options
    const record = await store.records.get(RECORD)
    const at = now()
    if (record && Math.abs(at - (JSON.parse(record.value) as { at: number }).at) < this.#everyMs / 2) return false
    return store.records.put(RECORD, JSON.stringify({ at }), record?.version ?? '')
  }

  async #rollUp(day: string): Promise<void> {
    const { store, observer, pauseMs = PAUSE_MS } = this.#options
    const mismatches = await verifyDay(store.ledger, day)
    if (!mismatches) return
    if (mismatches.length > 0) {
      if (this.#reported.has(day)) return
      this.#reported.add(day)
      for (const mismatch of mismatches) observer.ledgerMismatchFound(mismatch)
      return observer.dayNotRolledUp(day)
    }
    let removed = 0
    for await (const calls of store.ledger.rollUp(day)) {
      removed += calls
      if (this.#isStopped()) break
      await sleep(pauseMs, undefined, { ref: false })
    }
    if (removed > 0) observer.dayRolledUp(day, removed)
  }

  /**
   * Lists the days that were never rolled up, those with calls that were settled since, and those whose
   * marks are missing or altered, which then do not verify.
   */
  async #dueDays(): Promise<string[]> {
    const { ledger } = this.#options.store
    const months = await ledger.months()
    const firstKept = this.#firstKept(months)
    const rolledUpTo = await ledger.rolledUpTo()
    const due: string[] = []
    for (const month of months.filter(month => month <= firstKept.slice(0, 7))) {
      const paid = new Map<string, number>()
      for (const { day, paidCalls } of await ledger.usage(month)) paid.set(day, (paid.get(day) ?? 0) + paidCalls)
      for (const [day, calls] of [...paid].sort().filter(([day]) => day < firstKept))
        if (day > rolledUpTo || calls !== (await rolledUpCalls(ledger, day))) due.push(day)
    }
    return due
  }

  /**
   * A clock that is far ahead must not make the last bookings old, not even if calls are booked by it. So
   * a month bounds it only if the month that was booked before would be kept.
   */
  #firstKept(months: readonly string[]): string {
    const { retentionDays, calendar, now } = this.#options
    const starts = months.map(month => Date.parse(`${month}-01`))
    const maxGapMs = (retentionDays - 31) * DAY_MS
    const latest = starts.findLast((start, index) => start - (starts[index - 1] ?? start) <= maxGapMs) ?? 0
    return calendar.windows(Math.min(now(), latest + 31 * DAY_MS) - retentionDays * DAY_MS).day
  }
}

async function rolledUpCalls(ledger: VerifiedLedger, day: string): Promise<number> {
  return (await ledger.rolledUp(day)).reduce((sum, { calls, isIntact }) => sum + (isIntact ? calls : Number.NaN), 0)
}
