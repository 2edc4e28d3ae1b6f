import type { Clock } from '../../contracts/clock.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { StoreObserver } from '../../contracts/observer.js'
import type { RecordStore } from '../../contracts/store.js'
import type { Outflow } from './runway.js'

export interface AccountHistoryOptions {
  records: RecordStore
  now: Clock
  observer: StoreObserver
}

/** A stored snapshot. `remaining` is null if unknown. */
type HistoryRow = [at: number, remaining: Nanocredits | null, inFlight: number, outflow: Nanocredits]

/**
 * The account at one moment: balance, calls in flight, and the credits that have left it since the
 * ledger began.
 */
export interface Snapshot {
  remaining: Nanocredits | undefined
  inFlight: number
  outflow: Nanocredits
}

/** One row per five minutes for eight days: the longest burn window and one more day. */
const EVERY_MS = 300_000
const DAY_MS = 86_400_000
const DAYS = 8
const MAX_TRIES = 3

/**
 * Snapshots of the account every five minutes, one series for all replicas, in one record per day
 * (UTC).
 */
export class AccountHistory {
  readonly #options: AccountHistoryOptions
  readonly #days = new Map<string, HistoryRow[]>()

  constructor(options: AccountHistoryOptions) {
    this.#options = options
  }

  /** In order of time. */
  get outflows(): Outflow[] {
    const days = [...this.#days.keys()].sort()
    return days.flatMap(day => (this.#days.get(day) ?? []).map(([at, , , outflow]) => ({ at, outflow })))
  }

  /** Reads days that are missing here, and writes the snapshot if one is due. Never rejects. */
  async record(snapshot: Snapshot): Promise<void> {
    const at = this.#options.now()
    try {
      await this.#catchUp(at)
      for (let tries = 0; tries < MAX_TRIES; tries++) if (await this.#add(at, snapshot)) return
    } catch (error) {
      this.#options.observer.storeFailed(error, 'account history')
    }
  }

  /**
   * Reads days that are not cached. A past day is final, except yesterday's last row, which is read
   * once more after midnight.
   */
  async #catchUp(at: number): Promise<void> {
    const wanted = Array.from({ length: DAYS }, (_, ago) => dayOf(at - ago * DAY_MS))
    for (const day of this.#days.keys()) if (!wanted.includes(day)) this.#days.delete(day)
    const [, yesterday] = wanted
    for (const day of wanted.slice(1)) {
      if (!this.#days.has(day) || (day === yesterday && this.#isNewDay(at)))
        this.#days.set(day, (await this.#read(day)).rows)
    }
  }

  #isNewDay(at: number): boolean {
    return !this.#days.has(dayOf(at))
  }

  /** Returns false if another replica wrote in the meantime. */
  async #add(at: number, { remaining, inFlight, outflow }: Snapshot): Promise<boolean> {
    const day = dayOf(at)
    const { rows, version } = await this.#read(day)
    this.#days.set(day, rows)
    const last = rows.at(-1)
    if (last && Math.floor(last[0] / EVERY_MS) >= Math.floor(at / EVERY_MS)) return true
    const next: HistoryRow[] = [...rows, [at, remaining ?? null, inFlight, outflow]]
    const { records } = this.#options
    if (!(await records.put(keyOf(day), JSON.stringify(next), version, ((DAYS + 2) * DAY_MS) / 1000))) return false
    this.#days.set(day, next)
    return true
  }

  async #read(day: string): Promise<{ rows: HistoryRow[]; version: string }> {
    const found = await this.#options.records.get(keyOf(day))
    return { rows: found ? (JSON.parse(found.value) as HistoryRow[]) : [], version: found?.version ?? '' }
  }
}

function keyOf(day: string): string {
  return `account-history:${day}`
}

function dayOf(at: number): string {
  return new Date(at).toISOString().slice(0, 10)
}
