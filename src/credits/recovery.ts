import type { Clock } from '../contracts/clock.js'
import type { LedgerEntry, LedgerStore } from '../contracts/store.js'
import { JOB_AGE_MS } from '../segment/purchase.js'
import type { CreditsObserver } from './observer.js'
import { PeriodicRun } from './periodic-run.js'
import type { UnsavedSteps } from './unsaved.js'

export interface RecoveryOptions {
  store: LedgerStore
  unsaved: UnsavedSteps
  /** Tells whether a call is in flight in this process. */
  isOwn(callId: string): boolean
  /** Age of a reservation, in milliseconds, from which no live process can own it. */
  orphanAfterMs: number
  everyMs: number
  /**
   * Polls the entry's job and ends the entry. If the job is still running, the next sweep resumes
   * it again.
   */
  resume(entry: LedgerEntry): Promise<void>
  now: Clock
  /** `storeFailed` also reports a `resume` that rejected. */
  observer: Pick<CreditsObserver, 'callBooked' | 'orphanSettled' | 'storeFailed'>
}

/** Share by which the interval varies. */
const SPREAD = 0.2
/** Entries that one sweep reads. */
const SWEEP_LIMIT = 100
/** Jobs polled at once, in addition to the purchases in flight. */
const MAX_RESUMING = 4

/**
 * Ends the entries of processes that died between reservation and end of a call, so that none stays
 * reserved.
 */
export class Recovery {
  readonly #options: RecoveryOptions
  readonly #resuming = new Set<string>()
  readonly #periodic: PeriodicRun<number>

  constructor(options: RecoveryOptions) {
    this.#options = options
    const onFailed = (error: unknown) => {
      options.observer.storeFailed(error, 'orphans: sweep')
      return 0
    }
    this.#periodic = new PeriodicRun({ run: () => this.#sweep(), everyMs: options.everyMs, spread: SPREAD, onFailed })
  }

  /** Sweeps now and then at every interval. */
  start(): void {
    this.#periodic.start()
  }

  /**
   * Looks for orphaned entries once. Returns the number of entries it ended as unknown or began to
   * resume. Resuming continues after the sweep. Never rejects.
   */
  sweep(): Promise<number> {
    return this.#periodic.now()
  }

  /**
   * Starts no further work and waits for the current sweep. Jobs that are being polled are left to
   * the next process.
   */
  close(): Promise<void> {
    return this.#periodic.close()
  }

  async #sweep(): Promise<number> {
    const { store, unsaved, isOwn, orphanAfterMs, now } = this.#options
    await unsaved.flush()
    const reserved = await store.reservedBefore(now() - orphanAfterMs, SWEEP_LIMIT)
    const orphans = reserved.filter(({ callId }) => !isOwn(callId))
    if (orphans.length === 0) return 0
    // Read last: a call that ended while the entries were read is either in the store or waits
    // here.
    const waiting = await unsaved.callIds()
    let recovered = 0
    for (const entry of orphans) {
      if (this.#periodic.isClosed) break
      if (!waiting.has(entry.callId) && (await this.#recover(entry))) recovered++
    }
    return recovered
  }

  /** Never rejects, so that an entry the store refuses does not end the sweep. */
  async #recover(entry: LedgerEntry): Promise<boolean> {
    const isPollable = entry.jobId !== undefined && this.#options.now() - entry.at < JOB_AGE_MS
    if (!isPollable) {
      return this.#endAsUnknown(entry).catch(error => {
        this.#options.observer.storeFailed(error, 'orphans: sweep')
        return false
      })
    }
    if (this.#resuming.has(entry.callId) || this.#resuming.size >= MAX_RESUMING) return false
    void this.#resume(entry)
    return true
  }

  async #resume(entry: LedgerEntry): Promise<void> {
    this.#resuming.add(entry.callId)
    try {
      await this.#options.resume(entry)
      // The entry of a job that is still running stays reserved and is resumed again.
      const ended = await this.#options.store.entry(entry.day, entry.callId)
      if (ended?.state !== 'reserved') this.#options.observer.orphanSettled(entry, 'resumed')
    } catch (error) {
      this.#options.observer.storeFailed(error, 'orphans: resume')
    } finally {
      this.#resuming.delete(entry.callId)
    }
  }

  /**
   * The owner may have been slow instead of dead, and another replica may sweep at the same time.
   * So the entry is read again just before, and only the process whose end was written counts it.
   */
  async #endAsUnknown(entry: LedgerEntry): Promise<boolean> {
    const { store, now, observer } = this.#options
    const { state: _reserved, settled: _none, ...call } = entry
    const current = await store.entry(entry.day, entry.callId)
    if (current?.state !== 'reserved') return false
    const settledAt = now()
    const cost = entry.estimate
    await store.settle(call, { outcome: 'unknown', cost, costSource: 'estimate', settledAt })
    const ended = await store.entry(entry.day, entry.callId)
    if (ended?.settled?.settledAt !== settledAt) return false
    observer.callBooked(entry.team, 'unknown', cost)
    observer.orphanSettled(entry, 'unknown')
    return true
  }
}
