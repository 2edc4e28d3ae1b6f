import { randomUUID } from 'node:crypto'
import type { AccountEvent, ImplausibleFigure } from '../../contracts/account.js'
import type { Clock } from '../../contracts/clock.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { LedgerStore, LedgerTotals, RecordStore } from '../../contracts/store.js'
import type { CreditsObserver } from '../observer.js'
import type { BudgetCalendar } from '../windows.js'
import { type PriceEstimate, REMEMBERED } from './price.js'
import { type Observation, type Resolution, reconcile } from './reconcile.js'
import { ACCOUNT_KEY, type AccountRecord, readAccount, withEvent } from './record.js'

export interface ReconcilerOptions {
  records: RecordStore
  ledger: Pick<LedgerStore, 'entry' | 'unknownSince' | 'settle' | 'release'>
  calendar: BudgetCalendar
  /**
   * Bounds the cost of a call, and learns the mean cost of calls that Segmind reported no cost for.
   */
  price: Pick<PriceEstimate, 'max' | 'learn' | 'current'>
  now: Clock
  /**
   * False while the ledger may lack steps: some wait on this machine, or the store failed a moment
   * ago.
   */
  isSettled(): boolean
  /** Called for a sample that was not used, because it had been weighed against an old record. */
  onDoubt(): void
  observer: Pick<CreditsObserver, 'callBooked' | 'unknownSettled' | 'accountEventRecorded' | 'storeFailed'>
}

/** A balance that Segmind reported, with the ledger totals at that time. */
export interface SampleWithTotals {
  remaining: Nanocredits
  at: number
  totals: LedgerTotals
  /** Other calls that were in flight or ended in the meantime. */
  overlap: number
  /** Time of the request. */
  since?: number
}

type RecordChange = (record: AccountRecord) => { record: AccountRecord; event: AccountEvent } | undefined

/** Time during which an unknown call may still be billed. Segmind itself ends calls sooner. */
const UNKNOWN_SETTLES_MS = 180_000
/**
 * A time this far ahead was written by a replica whose clock was wrong: it had no store to compare
 * it with.
 */
const FUTURE_MS = 60_000
const MAX_UNKNOWN = 100
const MAX_TRIES = 5
const MAX_CLAIMS = 20
/** Time during which a further price change in the same direction is part of the previous one. */
const PRICE_AGAIN_MS = 86_400_000

/**
 * Reconciles the ledger with the account's balance, once for all replicas. Never rejects; the next
 * sample repeats a failed attempt.
 */
export class Reconciler {
  /** The shared record as last read; undefined before the first balance. */
  record: AccountRecord | undefined
  readonly #options: ReconcilerOptions
  #running: Promise<void> | undefined
  #next: SampleWithTotals | undefined
  #replacing: Promise<void> = Promise.resolve()
  /** The last end of an unknown call that was ahead of the clock, and when it was first seen. */
  #ahead: { unknownAt: number; seenAt: number } | undefined

  constructor(options: ReconcilerOptions) {
    this.#options = options
  }

  /**
   * Reconciles a sample. While one is in progress, only the newest of the following samples is
   * kept. Resolves once done.
   */
  observe(sample: SampleWithTotals): Promise<void> {
    this.#next = sample
    this.#running ??= this.#run()
    return this.#running
  }

  /** Reads the shared record. */
  async refresh(): Promise<void> {
    try {
      this.record = (await readAccount(this.#options.records)).record
    } catch (error) {
      this.#options.observer.storeFailed(error, 'reconcile')
    }
  }

  /** Records a price change, once for all replicas. */
  async recordPriceChange(from: Nanocredits, to: Nanocredits): Promise<void> {
    const at = this.#options.now()
    await this.#replace(record => {
      const last = record.events.findLast(({ kind }) => kind === 'price')
      const isSameWay = last !== undefined && Math.sign(last.amount) === Math.sign(to - from)
      // The costs before the change are among the recent ones for as long: for days, if calls are
      // few.
      const isRemembered = record.anchor.calls - (record.pricedCalls ?? Number.NEGATIVE_INFINITY) < REMEMBERED
      const isSame = isSameWay && isRemembered && Math.abs(to - from) < 2 * Math.abs(last.amount)
      if (isSame || (isSameWay && at - last.at < PRICE_AGAIN_MS)) return undefined
      const { month } = this.#options.calendar.windows(at)
      const event = { id: randomUUID(), at, month, kind: 'price', amount: to - from } as const
      const events = withEvent(record.events, event)
      return { record: { ...record, events, pricedCalls: record.anchor.calls }, event }
    })
  }

  /** Records a figure that was not used. Nothing is recorded before the first balance. */
  async recordImplausible(implausible: ImplausibleFigure): Promise<void> {
    const at = this.#options.now()
    const { month } = this.#options.calendar.windows(at)
    const amount = implausible.claimed - implausible.expected
    const event: AccountEvent = { id: randomUUID(), at, month, kind: 'implausible', amount, implausible }
    await this.#replace(record => ({ record: { ...record, events: withEvent(record.events, event) }, event }))
  }

  async #run(): Promise<void> {
    for (let sample = this.#next; sample; sample = this.#next) {
      this.#next = undefined
      try {
        await this.#reconcile(sample)
      } catch (error) {
        this.#options.observer.storeFailed(error, 'reconcile')
      }
    }
    // Synchronous with the check that found no further sample. Otherwise a sample that arrived in
    // between would be skipped.
    this.#running = undefined
  }

  async #reconcile(sample: SampleWithTotals): Promise<void> {
    const { records, calendar, price, isSettled, onDoubt, observer } = this.#options
    if (!isSettled()) return
    const weighedAgainst = this.record
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const { record, version } = await readAccount(records)
      const { month } = calendar.windows(sample.at)
      const claims = await this.#claimsSince(record)
      const seen = { ...sample, month, claims, ...(await this.#unknownsOf(sample, record)) }
      const next = reconcile(record, seen, { price, newId: randomUUID })
      for (const resolution of next.resolutions) await this.#resolve(resolution)
      // Another replica has recorded a movement since. A wrong balance may have agreed with the old
      // record.
      const isDoubtful = isMovement(next.event) && !hasSameAnchor(weighedAgainst, record)
      if (isDoubtful) onDoubt()
      if (!next.record || isDoubtful) {
        this.record = record
        return
      }
      if (!(await records.put(ACCOUNT_KEY, JSON.stringify(next.record), version))) continue
      this.record = next.record
      if (next.event) observer.accountEventRecorded(next.event)
      if (next.meanCost !== undefined) price.learn(next.meanCost)
      return
    }
  }

  /**
   * Finds the unknown calls since the anchor. While one may still be billed, counts it as overlap
   * instead.
   */
  async #unknownsOf(
    sample: SampleWithTotals,
    record: AccountRecord | undefined,
  ): Promise<Pick<Observation, 'overlap' | 'unknown'>> {
    const { overlap, totals, at } = sample
    const unknownAt = this.#unknownAt(sample)
    if (overlap > 0 || at - unknownAt < UNKNOWN_SETTLES_MS) return { overlap: Math.max(1, overlap), unknown: [] }
    if (!record || unknownAt <= record.anchor.at) return { overlap, unknown: [] }
    const found = await this.#options.ledger.unknownSince(record.anchor.at, MAX_UNKNOWN)
    // Calls that ended after the sample are not in its totals.
    return { overlap, unknown: found.filter(({ settled }) => (settled?.settledAt ?? 0) <= totals.unknownAt) }
  }

  /**
   * Returns when the latest unknown call ended. A time ahead of the clock counts from when it was
   * first seen. Otherwise nothing would be reconciled until then.
   */
  #unknownAt({ totals: { unknownAt }, at }: SampleWithTotals): number {
    if (unknownAt <= at + FUTURE_MS) return unknownAt
    if (this.#ahead?.unknownAt !== unknownAt) this.#ahead = { unknownAt, seenAt: at }
    return this.#ahead.seenAt
  }

  /** Lists the calls since the anchor whose stated cost was not believed, with that cost. */
  async #claimsSince(record: AccountRecord | undefined): Promise<Resolution[]> {
    const open = record?.events.filter(({ at, implausible }) => implausible?.call && at > record.anchor.at) ?? []
    const found = open.slice(-MAX_CLAIMS).map(async ({ implausible }) => {
      const { call, claimed: cost } = implausible as ImplausibleFigure
      const entry = call && (await this.#options.ledger.entry(call.day, call.callId))
      return entry?.settled?.costSource === 'estimate' ? [{ entry, cost }] : []
    })
    return (await Promise.all(found)).flat()
  }

  async #resolve({ entry, cost }: Resolution): Promise<void> {
    const { ledger, now, observer } = this.#options
    const { state, settled, ...call } = entry
    const settledUnknown = () => {
      if (state === 'unknown') observer.unknownSettled(call.team, settled?.cost ?? 0)
    }
    // Another replica may have ended it at the same time. Only one of them counts it.
    if (cost === 0) {
      if (await ledger.release(call)) settledUnknown()
      return
    }
    const settledAt = now()
    await ledger.settle(call, { ...settled, outcome: 'charged', cost, costSource: 'balance', settledAt })
    const ended = await ledger.entry(call.day, call.callId)
    if (ended?.settled?.settledAt !== settledAt) return
    settledUnknown()
    observer.callBooked(call.team, 'charged', state === 'charged' ? cost - (settled?.cost ?? 0) : cost)
  }

  /** Changes the record, after the changes of this process that are in progress. Never rejects. */
  #replace(change: RecordChange): Promise<void> {
    this.#replacing = this.#replacing.then(() => this.#replaceNow(change))
    return this.#replacing
  }

  async #replaceNow(change: RecordChange): Promise<void> {
    const { records, observer } = this.#options
    try {
      for (let tries = 0; tries < MAX_TRIES; tries++) {
        const { record, version } = await readAccount(records)
        const next = record && change(record)
        if (!next) return
        if (!(await records.put(ACCOUNT_KEY, JSON.stringify(next.record), version))) continue
        this.record = next.record
        return observer.accountEventRecorded(next.event)
      }
    } catch (error) {
      observer.storeFailed(error, 'reconcile')
    }
  }
}

function isMovement(event: AccountEvent | undefined): boolean {
  return event?.kind === 'foreign' || event?.kind === 'topUp'
}

function hasSameAnchor(one: AccountRecord | undefined, other: AccountRecord | undefined): boolean {
  return one?.anchor.sequence === other?.anchor.sequence && one?.anchor.remaining === other?.anchor.remaining
}
