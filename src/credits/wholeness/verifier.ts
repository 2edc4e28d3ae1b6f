import type { Clock } from '../../contracts/clock.js'
import type { StoreObserver } from '../../contracts/observer.js'
import type { RecordStore } from '../../contracts/store.js'
import { PeriodicRun } from '../periodic-run.js'
import { daysOf, type Mismatch, type VerifiedLedger, verifyDay, verifyMonth } from './verify.js'

export interface VerifierObserver extends StoreObserver {
  /** A sum in the ledger differs from its entries. Called once until the difference changes. */
  ledgerMismatchFound(mismatch: Mismatch): void
}

export interface VerifierOptions {
  store: { ledger: VerifiedLedger; records: RecordStore }
  /** The clock that all replicas share. */
  now: Clock
  observer: VerifierObserver
  /** Time between two windows, of all replicas together, milliseconds. Default: 2 min. */
  verifyEveryMs?: number
}

/** The window that was verified last, by any replica. */
interface Progress {
  at: number
  window: string
}

const RECORD = 'ledger:verifier'
const EVERY_MS = 120_000
/** Months that are verified in turn, with their days. */
const MONTHS = 2

/**
 * Verifies one day or month of the ledger at a time, in turn, by one replica at a time. Each round
 * costs one read of that day.
 */
export class Verifier {
  readonly #options: VerifierOptions
  readonly #everyMs: number
  readonly #periodic: PeriodicRun
  /** Differences that were reported, by window. */
  readonly #reported = new Map<string, Set<string>>()

  constructor(options: VerifierOptions) {
    this.#options = options
    this.#everyMs = options.verifyEveryMs ?? EVERY_MS
    const onFailed = (error: unknown) => options.observer.storeFailed(error, 'ledger: verify')
    this.#periodic = new PeriodicRun({ run: () => this.#verifyNext(), everyMs: this.#everyMs, onFailed })
  }

  start(): void {
    this.#periodic.startLater()
  }

  /** Verifies the next window, unless another replica does. Never rejects. */
  verifyNext(): Promise<void> {
    return this.#periodic.now()
  }

  close(): Promise<void> {
    return this.#periodic.close()
  }

  async #verifyNext(): Promise<void> {
    const { store, observer } = this.#options
    const window = await this.#claim()
    if (window === undefined) return
    const found = await (isMonth(window) ? verifyMonth : verifyDay)(store.ledger, window)
    if (found === undefined) return
    const before = this.#reported.get(window)
    this.#reported.set(window, new Set(found.map(differenceOf)))
    for (const mismatch of found) if (!before?.has(differenceOf(mismatch))) observer.ledgerMismatchFound(mismatch)
  }

  /** Claims the window that follows the last one. Undefined if another replica was faster. */
  async #claim(): Promise<string | undefined> {
    const { store, now } = this.#options
    const record = await store.records.get(RECORD)
    const last = record && (JSON.parse(record.value) as Progress)
    const at = now()
    if (last && Math.abs(at - last.at) < this.#everyMs / 2) return undefined
    const windows = await this.#windows()
    const window = windows[windows.indexOf(last?.window ?? '') + 1] ?? windows[0]
    if (window === undefined) return undefined
    const progress: Progress = { at, window }
    return (await store.records.put(RECORD, JSON.stringify(progress), record?.version ?? '')) ? window : undefined
  }

  async #windows(): Promise<string[]> {
    const { ledger } = this.#options.store
    const months = (await ledger.months()).slice(-MONTHS)
    const days = await Promise.all(months.map(month => daysOf(ledger, month)))
    return months.flatMap((month, index) => [...(days[index] ?? []), month])
  }
}

/** The same difference stays while further calls change both figures. */
const differenceOf = ({ team = '', figure, booked, computed }: Mismatch) => `${team} ${figure} ${booked - computed}`
const isMonth = (window: string) => window.length === '2026-11'.length
