import type { Clock } from '../contracts/clock.js'
import type { StoreObserver } from '../contracts/observer.js'
import { type SharedUse, StoreError, type TeamActivity } from '../contracts/store.js'
import type { JournalEntry } from '../segment/ports.js'
import { SharedUses } from './shared-uses.js'
import type { BudgetCalendar } from './windows.js'

export interface UsageJournalOptions {
  store: {
    addActivity(team: string, day: string, activity: TeamActivity): Promise<void>
    share(use: SharedUse): Promise<void>
  }
  calendar: BudgetCalendar
  now: Clock
  /** Interval between writes, milliseconds. */
  everyMs: number
  /**
   * Time for which the store remembers the users of a purchase: as long as its result can be used.
   */
  shareSeconds: number
  observer: StoreObserver
}

/**
 * Counts the results each team received, the savings, and the results that another team paid for.
 * Adds them to the store in batches. A process that is killed loses at most its last batch, and
 * never a charge: charges belong to the ledger.
 */
export class UsageJournal {
  readonly #options: UsageJournalOptions
  readonly #counted = new Map<string, { team: string; day: string; activity: TeamActivity }>()
  readonly #uses: SharedUses
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor(options: UsageJournalOptions) {
    this.#options = options
    this.#uses = new SharedUses(options)
  }

  /** Counts one result that a team received. */
  answered(entry: JournalEntry): void {
    const { team, how } = entry
    const { cost } = entry.result
    const { day } = this.#options.calendar.windows(this.#options.now())
    const activity = this.#activity(team.id, day)
    activity.requests++
    if (how === 'hit' || how === 'stale') {
      activity.hits++
      activity.savedByCache += cost
    } else if (how === 'coalesced') {
      activity.coalesced++
      activity.savedByCoalescing += cost
    }
    if (how !== 'miss' && how !== 'bypass') this.#share(entry, day)
    this.#schedule()
  }

  /**
   * Writes the counters, after any write already in progress. A batch is kept only if it certainly
   * was not written. Shared uses are retried until the store accepts them. Never rejects.
   */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#writing = this.#writing.then(() => this.#write())
    return this.#writing
  }

  async #write(): Promise<void> {
    const batches = [...this.#counted.values()]
    this.#counted.clear()
    for (const { team, day, activity } of batches) {
      try {
        await this.#options.store.addActivity(team, day, activity)
      } catch (error) {
        this.#options.observer.storeFailed(error, 'journal: write')
        // Counting twice would be worse than losing a batch, so an uncertain write is not repeated.
        if (error instanceof StoreError && !error.mayHaveHappened) this.#addBack(team, day, activity)
      }
    }
    await this.#uses.flush()
    if (this.#uses.size > 0) this.#schedule()
  }

  #activity(team: string, day: string): TeamActivity {
    const name = `${day} ${team}`
    const known = this.#counted.get(name)
    if (known) return known.activity
    const activity = noActivity()
    this.#counted.set(name, { team, day, activity })
    return activity
  }

  #addBack(team: string, day: string, lost: TeamActivity): void {
    const activity = this.#activity(team, day)
    for (const name of Object.keys(lost) as (keyof TeamActivity)[]) activity[name] += lost[name]
    this.#schedule()
  }

  /**
   * Records the use of another team's purchase under every policy. `CHARGEBACK` decides only what a
   * statement shows.
   */
  #share({ team, resultId, result }: JournalEntry, day: string): void {
    const { boughtBy, storedAt, cost } = result
    if (boughtBy === undefined || boughtBy === team.id || !(cost > 0)) return
    const name = `${resultId} ${storedAt} ${team.id}`
    if (this.#uses.isRecorded(name)) return
    this.#uses.add(name, {
      resultId,
      boughtAt: storedAt,
      payer: boughtBy,
      cost,
      team: team.id,
      day,
      ttlSeconds: this.#options.shareSeconds,
    })
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => void this.flush(), this.#options.everyMs).unref()
  }
}

function noActivity(): TeamActivity {
  return { requests: 0, hits: 0, coalesced: 0, savedByCache: 0, savedByCoalescing: 0 }
}
