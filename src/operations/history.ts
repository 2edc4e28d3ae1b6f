import { randomUUID } from 'node:crypto'
import type { Clock } from '../contracts/clock.js'
import type { StoreObserver } from '../contracts/observer.js'
import type { FailedRequest } from '../contracts/records.js'
import type { RecordStore } from '../contracts/store.js'
import type { Activity } from './activity.js'
import { type CountedMinute, mergeMinutes } from './minute.js'

export interface ActivityHistoryOptions {
  records: RecordStore
  activity: Activity
  /** Reads the gauges at the end of a minute. */
  gauges(): Pick<CountedMinute, 'queue' | 'inFlight' | 'balance'>
  now: Clock
  observer: StoreObserver
}

/** A minute with its start `at`, milliseconds since 1970. */
export type TimedMinute = CountedMinute & { at: number }

interface Hour {
  /** Minutes by minute of the hour. */
  minutes: Record<string, CountedMinute>
  /**
   * Ids of the contributions in each minute, so that a write that was retried is not added twice.
   */
  parts: Record<string, string[]>
  errors: FailedRequest[]
}

interface Contribution {
  id: string
  minute: CountedMinute
}

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
/** Period that the history covers. */
export const HISTORY_HOURS = 48
const KEEP_SECONDS = (HISTORY_HOURS + 2) * 3_600
const ERRORS_KEPT = 50
/** Bound of the minutes that wait for the store. */
const MAX_WAITING = 240
const TRIES = 10

/**
 * The activity of all processes in the last 48 hours, minute by minute. One record per hour, to
 * which each process adds its minutes by compare-and-set. Kept in the store, so it needs no
 * Prometheus and survives a restart.
 */
export class ActivityHistory {
  readonly #options: ActivityHistoryOptions
  readonly #waiting = new Map<number, Contribution>()
  #errorsSaved = 0
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor(options: ActivityHistoryOptions) {
    this.#options = options
  }

  /**
   * Ends each minute with a random delay, so that processes that share a store do not write at the
   * same time.
   */
  start(): void {
    const untilNext = MINUTE_MS - (this.#options.now() % MINUTE_MS) + Math.random() * 3_000
    const at = this.#minuteNow()
    this.#timer = setTimeout(() => {
      void this.endMinute(at)
      this.start()
    }, untilNext).unref()
  }

  /**
   * Ends the minute that began at `at`, and writes it together with waiting ones. Never rejects.
   */
  endMinute(at = this.#minuteNow()): Promise<void> {
    const taken = { ...this.#options.activity.takeMinute(), ...this.#options.gauges() }
    const known = this.#waiting.get(at)
    this.#waiting.set(
      at,
      known ? { ...known, minute: mergeMinutes(known.minute, taken) } : { id: randomUUID().slice(0, 8), minute: taken },
    )
    const [oldest] = this.#waiting.keys()
    if (this.#waiting.size > MAX_WAITING && oldest !== undefined) this.#waiting.delete(oldest)
    this.#writing = this.#writing.then(() => this.#flush())
    return this.#writing
  }

  /** Reads the recorded minutes of the last `hours`, in order. Rejects with `StoreError`. */
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

  /** Reads the latest errors of all processes, the newest first. Rejects with `StoreError`. */
  async errors(): Promise<FailedRequest[]> {
    const hour = Math.floor(this.#options.now() / HOUR_MS)
    const hours = await Promise.all([this.#hour(hour), this.#hour(hour - 1)])
    const all = [...this.#options.activity.errors, ...hours.flatMap(({ value }) => value.errors)]
    return newest(all)
  }

  /** Writes the current minute, although it has not ended. */
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
      this.#options.observer.storeFailed(error, 'history: write')
    }
  }

  /** Adds a minute to its hour. Reads the hour again if another process has changed it. */
  async #write(at: number): Promise<void> {
    const { records, activity } = this.#options
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const contribution = this.#waiting.get(at)
      if (!contribution) return
      const { hour, value, version } = await this.#hour(Math.floor(at / HOUR_MS))
      const minuteOfHour = String(Math.floor((at % HOUR_MS) / MINUTE_MS))
      const newErrors = activity.errors.filter(error => error.at >= this.#errorsSaved)
      const next = withContribution(value, minuteOfHour, contribution, newErrors)
      if (!(await records.put(nameOf(hour), JSON.stringify(next), version, KEEP_SECONDS))) continue
      this.#waiting.delete(at)
      this.#errorsSaved = Math.max(this.#errorsSaved, ...newErrors.map(error => error.at))
      return
    }
  }
}

function withContribution(
  hour: Hour,
  minuteOfHour: string,
  { id, minute }: Contribution,
  newErrors: readonly FailedRequest[],
): Hour {
  const before = hour.minutes[minuteOfHour]
  const parts = hour.parts[minuteOfHour] ?? []
  const errors = newest([...newErrors, ...hour.errors])
  if (parts.includes(id)) return { ...hour, errors }
  return {
    minutes: { ...hour.minutes, [minuteOfHour]: before ? mergeMinutes(before, minute) : minute },
    parts: { ...hour.parts, [minuteOfHour]: [...parts, id] },
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
