import { randomUUID } from 'node:crypto'
import type { RecordStore } from '../storage.js'
import type { Activity, FailedRequest } from './activity.js'
import { type Minute, together } from './minute.js'

export interface HistoryOptions {
  records: RecordStore
  activity: Activity
  /** What is there at the end of a minute. */
  gauges(): Pick<Minute, 'queue' | 'inFlight' | 'balance'>
  now(): number
  onStoreFailure(error: unknown): void
}

/** A minute at its place: `at` is when it began, milliseconds since 1970. */
export type TimedMinute = Minute & { at: number }

interface Hour {
  /** By minute of the hour. */
  minutes: Record<string, Minute>
  /** Which contributions are in a minute: one whose writing failed half way is not added twice. */
  parts: Record<string, string[]>
  errors: FailedRequest[]
}

interface Contribution {
  id: string
  minute: Minute
}

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
/** How far back it is kept. */
export const HISTORY_HOURS = 48
const KEEP_SECONDS = (HISTORY_HOURS + 2) * 3_600
const ERRORS_KEPT = 50
/** Minutes that wait for a store that is down. */
const MAX_WAITING = 240
const TRIES = 10

/**
 * What happened in the last 48 hours, minute by minute, of all processes together: one record an hour, into which each adds its own minutes by
 * compare-and-set. Kept in the store, so that it is there without Prometheus and after a restart.
 */
export class History {
  readonly #options: HistoryOptions
  readonly #waiting = new Map<number, Contribution>()
  #errorsSaved = 0
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor(options: HistoryOptions) {
    this.#options = options
  }

  /** Ends a minute whenever the clock does, some time into the next one: processes that share a store do not all come at once. */
  start(): void {
    const untilNext = MINUTE_MS - (this.#options.now() % MINUTE_MS) + Math.random() * 3_000
    const at = this.#minuteNow()
    this.#timer = setTimeout(() => {
      void this.endMinute(at)
      this.start()
    }, untilNext).unref()
  }

  /** Takes what happened as that of the minute that began at `at`, and writes it with what waits. Never rejects. */
  endMinute(at = this.#minuteNow()): Promise<void> {
    const taken = { ...this.#options.activity.take(), ...this.#options.gauges() }
    const known = this.#waiting.get(at)
    this.#waiting.set(
      at,
      known ? { ...known, minute: together(known.minute, taken) } : { id: randomUUID().slice(0, 8), minute: taken },
    )
    const [oldest] = this.#waiting.keys()
    if (this.#waiting.size > MAX_WAITING && oldest !== undefined) this.#waiting.delete(oldest)
    this.#writing = this.#writing.then(() => this.#flush())
    return this.#writing
  }

  /** The minutes of the last so many hours that anything is known of, in their order. Rejects with `StoreError`. */
  async read(hours: number): Promise<TimedMinute[]> {
    const now = this.#options.now()
    const first = Math.floor(now / HOUR_MS) - hours
    const found = await Promise.all(Array.from({ length: hours + 1 }, (_, index) => this.#hour(first + index)))
    return found.flatMap(({ hour, value }) =>
      Object.entries(value.minutes)
        .map(([minute, counts]) => ({ ...counts, at: hour * HOUR_MS + Number(minute) * MINUTE_MS }))
        .filter(({ at }) => at >= now - hours * HOUR_MS)
        .sort((one, other) => one.at - other.at),
    )
  }

  /** The latest errors of all processes, the newest first. Rejects with `StoreError`. */
  async errors(): Promise<FailedRequest[]> {
    const hour = Math.floor(this.#options.now() / HOUR_MS)
    const hours = await Promise.all([this.#hour(hour), this.#hour(hour - 1)])
    const all = [...this.#options.activity.errors, ...hours.flatMap(({ value }) => value.errors)]
    return newest(all)
  }

  /** Writes the minute that is not over, too. */
  async close(): Promise<void> {
    clearTimeout(this.#timer)
    await this.endMinute()
  }

  #minuteNow(): number {
    return Math.floor(this.#options.now() / MINUTE_MS) * MINUTE_MS
  }

  async #hour(hour: number): Promise<{ hour: number; value: Hour; version: string }> {
    const record = await this.#options.records.get(nameOf(hour))
    const value = record ? (JSON.parse(record.value) as Hour) : { minutes: {}, parts: {}, errors: [] }
    return { hour, value, version: record?.version ?? '' }
  }

  async #flush(): Promise<void> {
    try {
      for (const at of [...this.#waiting.keys()]) await this.#write(at)
    } catch (error) {
      this.#options.onStoreFailure(error)
    }
  }

  /** Adds a minute to its hour; what another process has added meanwhile is read again. */
  async #write(at: number): Promise<void> {
    const { records, activity } = this.#options
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const contribution = this.#waiting.get(at)
      if (!contribution) return
      const { hour, value, version } = await this.#hour(Math.floor(at / HOUR_MS))
      const place = String(Math.floor((at % HOUR_MS) / MINUTE_MS))
      const news = activity.errors.filter(error => error.at >= this.#errorsSaved)
      const next = withContribution(value, place, contribution, news)
      if (!(await records.put(nameOf(hour), JSON.stringify(next), version, KEEP_SECONDS))) continue
      this.#waiting.delete(at)
      this.#errorsSaved = Math.max(this.#errorsSaved, ...news.map(error => error.at))
      return
    }
  }
}

function withContribution(
  hour: Hour,
  place: string,
  { id, minute }: Contribution,
  news: readonly FailedRequest[],
): Hour {
  const before = hour.minutes[place]
  const parts = hour.parts[place] ?? []
  const errors = newest([...news, ...hour.errors])
  if (parts.includes(id)) return { ...hour, errors }
  return {
    minutes: { ...hour.minutes, [place]: before ? together(before, minute) : minute },
    parts: { ...hour.parts, [place]: [...parts, id] },
    errors,
  }
}

function newest(errors: readonly FailedRequest[]): FailedRequest[] {
  const seen = new Map(errors.map(error => [`${error.at} ${error.requestId}`, error]))
  return [...seen.values()].sort((one, other) => other.at - one.at).slice(0, ERRORS_KEPT)
}

function nameOf(hour: number): string {
  return `history:${hour}`
}
