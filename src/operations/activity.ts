import type { SettledCall } from '../contracts/ledger.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import type { FailedRequest, FinishedRequest } from '../contracts/records.js'
import { bucketOf, type CountedMinute, emptyMinute } from './minute.js'

const ERRORS_KEPT = 50

/** Counts the events of this process in the current minute, and keeps the latest errors. */
export class Activity {
  #minute = emptyMinute()
  #errors: FailedRequest[] = []

  requestFinished(finished: FinishedRequest): void {
    this.#minute.requests++
    if (finished.cache !== '') {
      const { durations } = this.#minute
      const bucket = bucketOf(finished.durationMs)
      durations[bucket] = (durations[bucket] ?? 0) + 1
    }
    if (finished.error !== undefined && !finished.isTest) this.#minute.errors++
  }

  /** Keeps the error of a request, or of one selection of a batch. */
  requestFailed(failed: FailedRequest): void {
    this.#errors.push(failed)
    if (this.#errors.length > ERRORS_KEPT) this.#errors.shift()
  }

  resultAnswered(how: string, cost: Nanocredits): void {
    count(this.#minute.answers, how, 1)
    if (how === 'hit' || how === 'stale' || how === 'coalesced') this.#minute.saved += cost
  }

  callBooked(team: string, outcome: SettledCall['outcome'], cost: Nanocredits): void {
    if (outcome === 'unknown') this.#minute.unknown += cost
    else this.#minute.spent += cost
    count(this.#minute.teams, team, cost)
  }

  /** The current minute so far. */
  get minute(): CountedMinute {
    return this.#minute
  }

  /** The latest last. */
  get errors(): readonly FailedRequest[] {
    return this.#errors
  }

  /** Returns the current minute and starts the next one. */
  takeMinute(): CountedMinute {
    const taken = this.#minute
    this.#minute = emptyMinute()
    return taken
  }
}

function count(counts: Record<string, number>, name: string, amount: number): void {
  counts[name] = (counts[name] ?? 0) + amount
}
