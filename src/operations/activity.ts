import type { Nanocredits } from '../nanocredits.js'
import { bucketOf, emptyMinute, type Minute } from './minute.js'

/** A request that ended with an error, as operators are shown it. `at` in milliseconds since 1970. */
export interface FailedRequest {
  at: number
  requestId: string
  route: string
  /** Empty where no team was recognised. */
  team: string
  status: number
  code: string
}

/** A finished request. */
export interface Finished {
  requestId: string
  route: string
  team: string
  status: number
  error?: string
  /** Empty where no result was answered. */
  cache: string
  durationMs: number
  /** With a test key: what went wrong may be made up. */
  isTest?: boolean
}

const ERRORS_KEPT = 50

/** What this process did since it was last asked: the figures of the running minute, and the latest errors. */
export class Activity {
  readonly #now: () => number
  #minute = emptyMinute()
  #errors: FailedRequest[] = []

  constructor({ now }: { now(): number }) {
    this.#now = now
  }

  requested(finished: Finished): void {
    this.#minute.requests++
    if (finished.cache !== '') add(this.#minute.durations, bucketOf(finished.durationMs))
    if (finished.error !== undefined && !finished.isTest) this.#minute.errors++
    this.failed(finished)
  }

  /** Takes down the error of a request, or of a part of one, where it had one. */
  failed({ requestId, route, team, status, error, isTest }: Finished): void {
    if (error === undefined || isTest) return
    this.#errors.push({ at: this.#now(), requestId, route, team, status, code: error })
    if (this.#errors.length > ERRORS_KEPT) this.#errors.shift()
  }

  answered(how: string, cost: Nanocredits): void {
    count(this.#minute.answers, how, 1)
    if (how === 'hit' || how === 'stale' || how === 'coalesced') this.#minute.saved += cost
  }

  booked(team: string, outcome: 'charged' | 'unknown', cost: Nanocredits): void {
    if (outcome === 'unknown') this.#minute.unknown += cost
    else this.#minute.spent += cost
    count(this.#minute.teams, team, cost)
  }

  /** What has happened so far in the running minute. */
  get minute(): Minute {
    return this.#minute
  }

  /** The latest last. */
  get errors(): readonly FailedRequest[] {
    return this.#errors
  }

  /** Ends the running minute and begins the next one. */
  take(): Minute {
    const taken = this.#minute
    this.#minute = emptyMinute()
    return taken
  }
}

function add(counts: number[], place: number): void {
  counts[place] = (counts[place] ?? 0) + 1
}

function count(counts: Record<string, number>, name: string, amount: number): void {
  counts[name] = (counts[name] ?? 0) + amount
}
