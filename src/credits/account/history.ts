import type { Nanocredits } from '../../nanocredits.js'
import type { RecordStore } from '../../storage.js'
import type { Spending } from './runway.js'

export interface HistoryOptions {
  records: RecordStore
  now(): number
  onFailure(error: unknown): void
}

/** One look at the account, as it is kept: at, what the account held (null: not known), calls under way, what had left it. */
type Row = [at: number, remaining: Nanocredits | null, inFlight: number, gone: Nanocredits]

export interface Look {
  remaining: Nanocredits | undefined
  inFlight: number
  gone: Nanocredits
}

/** A row each five minutes, for eight days: what the longest burn needs, and a day more. */
const EVERY_MS = 300_000
const DAY_MS = 86_400_000
const DAYS = 8
const MAX_TRIES = 3

/** What the account held and what had left it, every five minutes, kept once for all replicas: a record for each day (UTC). */
export class AccountHistory {
  readonly #options: HistoryOptions
  readonly #days = new Map<string, Row[]>()

  constructor(options: HistoryOptions) {
    this.#options = options
  }

  /** In order of time. */
  get spending(): Spending[] {
    const days = [...this.#days.keys()].sort()
    return days.flatMap(day => (this.#days.get(day) ?? []).map(([at, , , gone]) => ({ at, gone })))
  }

  /** Reads what is not known here yet, and writes this look down when it is time for one. Never rejects. */
  async note(look: Look): Promise<void> {
    const at = this.#options.now()
    try {
      await this.#catchUp(at)
      for (let tries = 0; tries < MAX_TRIES; tries++) if (await this.#add(at, look)) return
    } catch (error) {
      this.#options.onFailure(error)
    }
  }

  /** Days that are over do not change any more, but for the last look of the day before. */
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

  /** Answers false when another replica wrote meanwhile. */
  async #add(at: number, { remaining, inFlight, gone }: Look): Promise<boolean> {
    const day = dayOf(at)
    const { rows, version } = await this.#read(day)
    this.#days.set(day, rows)
    const last = rows.at(-1)
    if (last && Math.floor(last[0] / EVERY_MS) >= Math.floor(at / EVERY_MS)) return true
    const next: Row[] = [...rows, [at, remaining ?? null, inFlight, gone]]
    const { records } = this.#options
    if (!(await records.put(keyOf(day), JSON.stringify(next), version, ((DAYS + 2) * DAY_MS) / 1000))) return false
    this.#days.set(day, next)
    return true
  }

  async #read(day: string): Promise<{ rows: Row[]; version: string }> {
    const found = await this.#options.records.get(keyOf(day))
    return { rows: found ? (JSON.parse(found.value) as Row[]) : [], version: found?.version ?? '' }
  }
}

function keyOf(day: string): string {
  return `account-history:${day}`
}

function dayOf(at: number): string {
  return new Date(at).toISOString().slice(0, 10)
}
