import type { Nanocredits } from '../nanocredits.js'
import type { How, JournalEntry } from '../segment/ports.js'
import { type SharedUse, StoreError, type TeamActivity } from '../storage.js'
import { SharedUses } from './shared-uses.js'
import type { BudgetCalendar } from './windows.js'

export interface JournalOptions {
  store: {
    addActivity(team: string, day: string, activity: TeamActivity): Promise<void>
    share(use: SharedUse): Promise<void>
  }
  calendar: BudgetCalendar
  now(): number
  /** How often what was counted is written, milliseconds. */
  everyMs: number
  /** How long it is remembered who shares a purchase: as long as its answer can be used. */
  shareSeconds: number
  /** Told of every answer, for the metrics. */
  onAnswered(team: string, how: How, cost: Nanocredits): void
  onStoreFailure(error: unknown): void
}

/**
 * Counts what each team was answered and what that saved, and which team uses what another one paid for, and adds it to the store in
 * batches. It is no money: a process that is killed loses at most the last batch, never a charge (those are the ledger's).
 */
export class Journal {
  readonly #options: JournalOptions
  readonly #counted = new Map<string, { team: string; day: string; activity: TeamActivity }>()
  readonly #uses: SharedUses
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor(options: JournalOptions) {
    this.#options = options
    this.#uses = new SharedUses(options)
  }

  /** Takes down one answer. */
  answered(entry: JournalEntry): void {
    const { team, how, result } = entry
    const { cost } = result
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
    if (how !== 'miss' && how !== 'bypass') this.#share(entry)
    this.#wake()
  }

  /**
   * Writes what was counted, after what is being written already; what the store surely did not take is counted on, and shared uses are told
   * until it takes them. Never rejects.
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
        this.#options.onStoreFailure(error)
        // Counted twice would be worse than a batch that is missing: only what surely was not written is counted on.
        if (error instanceof StoreError && !error.mayHaveHappened) this.#addBack(team, day, activity)
      }
    }
    await this.#uses.flush()
    if (this.#uses.size > 0) this.#wake()
  }

  #activity(team: string, day = this.#today()): TeamActivity {
    const name = `${day} ${team}`
    const counted = this.#counted.get(name) ?? { team, day, activity: nothing() }
    this.#counted.set(name, counted)
    return counted.activity
  }

  #addBack(team: string, day: string, lost: TeamActivity): void {
    const activity = this.#activity(team, day)
    for (const name of Object.keys(lost) as (keyof TeamActivity)[]) activity[name] += lost[name]
    this.#wake()
  }

  /** Whoever uses what another team paid for shares it, whatever the policy: that decides only what is shown. */
  #share({ team, resultId, result }: JournalEntry): void {
    const { boughtBy, storedAt, cost } = result
    if (boughtBy === undefined || boughtBy === team.id || !(cost > 0)) return
    const name = `${resultId} ${storedAt} ${team.id}`
    if (this.#uses.isTold(name)) return
    this.#uses.add(name, {
      resultId,
      boughtAt: storedAt,
      payer: boughtBy,
      cost,
      team: team.id,
      day: this.#today(),
      ttlSeconds: this.#options.shareSeconds,
    })
  }

  #today(): string {
    return this.#options.calendar.windows(this.#options.now()).day
  }

  #wake(): void {
    this.#timer ??= setTimeout(() => void this.flush(), this.#options.everyMs).unref()
  }
}

function nothing(): TeamActivity {
  return { requests: 0, hits: 0, coalesced: 0, savedByCache: 0, savedByCoalescing: 0 }
}
