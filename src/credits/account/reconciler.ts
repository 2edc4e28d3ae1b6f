import { randomUUID } from 'node:crypto'
import type { Nanocredits } from '../../nanocredits.js'
import type { AccountBook, CallEntry, LedgerStore, RecordStore } from '../../storage.js'
import type { BudgetCalendar } from '../windows.js'
import { type Observation, type Resolution, reconcile } from './reconcile.js'
import { ACCOUNT_KEY, type AccountEvent, type AccountRecord, MAX_EVENTS, readAccount } from './record.js'

export interface ReconcilerOptions {
  records: RecordStore
  ledger: Pick<LedgerStore, 'account' | 'unknown' | 'settle' | 'release'>
  calendar: BudgetCalendar
  /** More than any one call plausibly costs. */
  maxCost(): Nanocredits
  now(): number
  /** False while ledger steps of this machine wait, or the store has just been away: the books are behind then. */
  isSettled(): boolean
  /** Told once, by the process that recorded it. */
  onEvent(event: AccountEvent): void
  /** Told what a call cost on average, where Segmind did not say. */
  onMeanCost(cost: Nanocredits): void
  /** Told of an unknown call whose cost the balance has shown; 0 for one that was not billed. */
  onResolved(resolution: Resolution): void
  onFailure(error: unknown): void
}

/** What an answer said about the balance, with the books around it. */
export interface Sample {
  remaining: Nanocredits
  at: number
  book: AccountBook
  /** Other calls that were under way, or ended, meanwhile. */
  overlap: number
}

/** A call that ended as unknown may still be billed for so long: Segmind ends calls itself after less. */
const UNKNOWN_SETTLES_MS = 180_000
const MAX_UNKNOWN = 100
const MAX_TRIES = 5
/** While the price that was seen changes over, it is no further change in the same direction. */
const PRICE_AGAIN_MS = 86_400_000

/** Keeps the books and the account's balance together, with all replicas. Never rejects: what fails now is looked at again with the next sample. */
export class Reconciler {
  readonly #options: ReconcilerOptions
  #record: AccountRecord | undefined
  #running: Promise<void> | undefined
  #next: Sample | undefined

  constructor(options: ReconcilerOptions) {
    this.#options = options
  }

  /** What all replicas had agreed on when it was last read; undefined while no balance was heard. */
  get record(): AccountRecord | undefined {
    return this.#record
  }

  /** Takes a sample; while one is looked at, only the newest of those that follow is kept. Resolves when it was looked at. */
  observe(sample: Sample): Promise<void> {
    this.#next = sample
    this.#running ??= this.#run()
    return this.#running
  }

  /** Reads what other replicas have agreed on. */
  async refresh(): Promise<void> {
    try {
      this.#record = (await readAccount(this.#options.records)).record
    } catch (error) {
      this.#options.onFailure(error)
    }
  }

  /** Writes down that calls cost something else than before, once for all replicas. */
  async noteNewPrice(from: Nanocredits, to: Nanocredits): Promise<void> {
    const at = this.#options.now()
    await this.#replace(record => {
      const last = record.events.findLast(({ kind }) => kind === 'price')
      const isSame = last !== undefined && Math.sign(last.amount) === Math.sign(to - from)
      if (isSame && at - last.at < PRICE_AGAIN_MS) return undefined
      const { month } = this.#options.calendar.windows(at)
      const event = { id: randomUUID(), at, month, kind: 'price', amount: to - from } as const
      return { record: { ...record, events: [...record.events, event].slice(-MAX_EVENTS) }, event }
    })
  }

  async #run(): Promise<void> {
    for (let sample = this.#next; sample; sample = this.#next) {
      this.#next = undefined
      try {
        await this.#look(sample)
      } catch (error) {
        this.#options.onFailure(error)
      }
    }
    // In the step that saw nothing more to look at: a sample that came a moment later would be left lying.
    this.#running = undefined
  }

  async #look(sample: Sample): Promise<void> {
    const { records, calendar, maxCost, isSettled } = this.#options
    if (!isSettled()) return
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const { record, version } = await readAccount(records)
      const seen = { ...sample, month: calendar.windows(sample.at).month, ...(await this.#unknownsOf(sample, record)) }
      const next = reconcile(record, seen, { maxCost: maxCost(), newId: randomUUID })
      for (const resolution of next.resolutions) await this.#resolve(resolution)
      if (!next.record) {
        this.#record = record
        return
      }
      if (!(await records.put(ACCOUNT_KEY, JSON.stringify(next.record), version))) continue
      this.#record = next.record
      if (next.event) this.#options.onEvent(next.event)
      if (next.meanCost !== undefined) this.#options.onMeanCost(next.meanCost)
      return
    }
  }

  /** While a call that ended as unknown may still be billed, the balance says nothing about it yet. */
  async #unknownsOf(
    sample: Sample,
    record: AccountRecord | undefined,
  ): Promise<Pick<Observation, 'overlap' | 'unknown'>> {
    const { overlap, book, at } = sample
    if (overlap > 0 || at - book.unknownAt < UNKNOWN_SETTLES_MS) return { overlap: Math.max(1, overlap), unknown: [] }
    if (!record || book.unknownAt <= record.anchor.at) return { overlap, unknown: [] }
    const found = await this.#options.ledger.unknown(record.anchor.at, MAX_UNKNOWN)
    // Those that ended since the sample are not in its books.
    return { overlap, unknown: found.filter(({ settled }) => (settled?.settledAt ?? 0) <= book.unknownAt) }
  }

  async #resolve(resolution: Resolution): Promise<void> {
    const { ledger, now, onResolved } = this.#options
    const { state: _unknown, settled: _estimate, ...call } = resolution.entry
    const { cost } = resolution
    if (cost === 0) await ledger.release(call satisfies CallEntry)
    else await ledger.settle(call, { outcome: 'charged', cost, costSource: 'balance', settledAt: now() })
    onResolved(resolution)
  }

  async #replace(
    change: (record: AccountRecord) => { record: AccountRecord; event: AccountEvent } | undefined,
  ): Promise<void> {
    const { records, onEvent, onFailure } = this.#options
    try {
      for (let tries = 0; tries < MAX_TRIES; tries++) {
        const { record, version } = await readAccount(records)
        const next = record && change(record)
        if (!next) return
        if (!(await records.put(ACCOUNT_KEY, JSON.stringify(next.record), version))) continue
        this.#record = next.record
        return onEvent(next.event)
      }
    } catch (error) {
      onFailure(error)
    }
  }
}
