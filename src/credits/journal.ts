import type { Nanocredits } from '../nanocredits.js'
import type { How } from '../segment/ports.js'
import type { Team } from '../segment/types.js'
import { StoreError, type TeamActivity } from '../storage.js'
import type { BudgetCalendar } from './windows.js'

export interface JournalOptions {
  store: { addActivity(team: string, day: string, activity: TeamActivity): Promise<void> }
  calendar: BudgetCalendar
  now(): number
  /** How often what was counted is written, milliseconds. */
  everyMs: number
  /** Told of every answer, for the metrics. */
  onAnswered(team: string, how: How, cost: Nanocredits): void
  onStoreFailure(error: unknown): void
}

/**
 * Counts what each team was answered and what that saved, and adds it to the store in batches. It is no money: a process
 * that is killed loses at most the last batch, never a charge (those are the ledger's).
 */
export class Journal {
  readonly #options: JournalOptions
  readonly #counted = new Map<string, { team: string; day: string; activity: TeamActivity }>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: JournalOptions) {
    this.#options = options
  }

  /** Takes down one answer; `cost` is what it cost when it was bought. */
  answered(team: Team, how: How, cost: Nanocredits): void {
    this.#options.onAnswered(team.id, how, cost)
    const activity = this.#activity(team.id)
    activity.requests++
    if (how === 'hit' || how === 'stale') {
      activity.hits++
      activity.savedByCache += cost
    } else if (how === 'coalesced') {
      activity.coalesced++
      activity.savedByCoalescing += cost
    }
    this.#timer ??= setTimeout(() => void this.flush(), this.#options.everyMs).unref()
  }

  /** Writes what was counted; what the store surely did not take is counted on. Never rejects. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const batches = [...this.#counted.values()]
    this.#counted.clear()
    for (const { team, day, activity } of batches) {
      try {
        await this.#options.store.addActivity(team, day, activity)
      } catch (error) {
        this.#options.onStoreFailure(error)
        // Counted twice would be worse than a batch that is missing: only what surely was not written is counted on.
        if (error instanceof StoreError && !error.mayHaveHappened) this.#addBack(team, day, activity)
      }
    }
  }

  #activity(team: string, day = this.#options.calendar.windows(this.#options.now()).day): TeamActivity {
    const name = `${day} ${team}`
    const counted = this.#counted.get(name) ?? { team, day, activity: nothing() }
    this.#counted.set(name, counted)
    return counted.activity
  }

  #addBack(team: string, day: string, lost: TeamActivity): void {
    const activity = this.#activity(team, day)
    for (const name of Object.keys(lost) as (keyof TeamActivity)[]) activity[name] += lost[name]
    this.#timer ??= setTimeout(() => void this.flush(), this.#options.everyMs).unref()
  }
}

function nothing(): TeamActivity {
  return { requests: 0, hits: 0, coalesced: 0, savedByCache: 0, savedByCoalescing: 0 }
}
