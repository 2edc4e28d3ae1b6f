import type { Nanocredits } from '../nanocredits.js'
import { JOB_AGE_MS } from '../segment/purchase.js'
import type { LedgerEntry, LedgerStore, SettledCall } from '../storage.js'
import type { UnsavedSteps } from './unsaved.js'

export interface RecoveryOptions {
  store: LedgerStore
  unsaved: UnsavedSteps
  /** Whether a call is still under way in this process. */
  isOwn(callId: string): boolean
  /** How old a reserved entry has to be before nobody can own it any more, milliseconds. */
  orphanAfterMs: number
  everyMs: number
  /** Polls the entry's job and ends the entry; where it does not, the next sweep asks again. */
  resume(entry: LedgerEntry): Promise<void>
  now(): number
  onBooked(team: string, outcome: SettledCall['outcome'], cost: Nanocredits): void
  onOrphan(entry: LedgerEntry, fate: OrphanFate): void
  /** Told when the store did not answer, or `resume` rejected. */
  onFailure(error: unknown, doing: 'sweep' | 'resume'): void
}

/** What becomes of an entry whose process is gone: its job is polled to the end, or it stays booked with the estimate. */
export type OrphanFate = 'resumed' | 'unknown'

/** Replicas that were started together do not sweep together. */
const SPREAD = 0.2
/** Entries that one sweep looks at. */
const SWEEP_LIMIT = 100
/** Jobs polled at once: they come on top of the purchases under way. */
const MAX_RESUMING = 4

/** Ends the entries of processes that died between the reservation and the end of a call, so that none stays reserved for ever. */
export class Recovery {
  readonly #options: RecoveryOptions
  readonly #resuming = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  #sweeping: Promise<number> | undefined
  #isClosed = false

  constructor(options: RecoveryOptions) {
    this.#options = options
  }

  /** Sweeps now, and again and again. */
  start(): void {
    void this.sweep().finally(() => this.#schedule())
  }

  /**
   * Looks once for entries that nobody can own any more. Answers how many it took care of: ended as unknown, or began to resume
   * (that goes on after it). Never rejects.
   */
  sweep(): Promise<number> {
    this.#sweeping ??= this.#sweep()
      .catch(error => {
        this.#options.onFailure(error, 'sweep')
        return 0
      })
      .finally(() => {
        this.#sweeping = undefined
      })
    return this.#sweeping
  }

  /** Begins nothing more, and waits for the sweep under way; jobs that are being polled are left to the next process. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#sweeping
  }

  #schedule(): void {
    if (this.#isClosed) return
    const waitMs = this.#options.everyMs * (1 + SPREAD * (Math.random() - 0.5))
    this.#timer = setTimeout(() => this.start(), waitMs).unref()
  }

  async #sweep(): Promise<number> {
    const { store, unsaved, isOwn, orphanAfterMs, now } = this.#options
    await unsaved.flush()
    const open = await store.open(now() - orphanAfterMs, SWEEP_LIMIT)
    const strangers = open.filter(({ callId }) => !isOwn(callId))
    if (strangers.length === 0) return 0
    // Asked last: a call that ended while the entries were read is either written or waits here.
    const waiting = await unsaved.callIds()
    let cared = 0
    for (const entry of strangers) {
      if (this.#isClosed) break
      if (!waiting.has(entry.callId) && (await this.#takeCare(entry))) cared++
    }
    return cared
  }

  /** One that the store refuses does not keep the sweep from the others. */
  async #takeCare(entry: LedgerEntry): Promise<boolean> {
    const isPollable = entry.jobId !== undefined && this.#options.now() - entry.at < JOB_AGE_MS
    if (!isPollable) {
      return this.#giveUp(entry).catch(error => {
        this.#options.onFailure(error, 'sweep')
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
      // A job that goes on stays reserved, and is resumed again.
      const ended = await this.#options.store.entry(entry.day, entry.callId)
      if (ended?.state !== 'reserved') this.#options.onOrphan(entry, 'resumed')
    } catch (error) {
      this.#options.onFailure(error, 'resume')
    } finally {
      this.#resuming.delete(entry.callId)
    }
  }

  /** Its process may have been slow, not dead, and another replica may sweep too: it is looked at just before, and counted by whose end stands. */
  async #giveUp(entry: LedgerEntry): Promise<boolean> {
    const { store, now, onBooked, onOrphan } = this.#options
    const { state: _reserved, settled: _none, ...call } = entry
    const known = await store.entry(entry.day, entry.callId)
    if (known?.state !== 'reserved') return false
    const settledAt = now()
    const cost = entry.estimate
    await store.settle(call, { outcome: 'unknown', cost, costSource: 'estimate', settledAt })
    const ended = await store.entry(entry.day, entry.callId)
    if (ended?.settled?.settledAt !== settledAt) return false
    onBooked(entry.team, 'unknown', cost)
    onOrphan(entry, 'unknown')
    return true
  }
}
