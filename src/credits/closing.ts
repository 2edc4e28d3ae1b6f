import type { RecordStore } from '../storage.js'
import type { ClosedBy, Statement } from './statement.js'

/** A month as it was when it was closed. */
export interface Closing {
  /** Milliseconds since 1970. */
  at: number
  by: ClosedBy
  statement: Statement
}

/** One entry of the history of closings. */
export interface ClosingStep {
  month: string
  what: 'closed' | 'reopened'
  at: number
  by: ClosedBy
  /** When the month had been closed; of a `closed` the same as `at`. */
  closedAt: number
}

const HISTORY = 'closings'
const STEPS_KEPT = 100

/** Closed months in the store that all processes share: of two who close or reopen one at once, one does. Rejects with `StoreError`. */
export class Closings {
  readonly #records: RecordStore

  constructor(records: RecordStore) {
    this.#records = records
  }

  async find(month: string): Promise<Closing | undefined> {
    const record = await this.#records.get(keyOf(month))
    return record && (JSON.parse(record.value) as Closing)
  }

  /** Freezes a month as it is `now`; one that is closed stays as it was. Answers the closing that stands. */
  async close(month: string, now: () => Promise<Closing>): Promise<Closing> {
    for (;;) {
      const standing = (await this.find(month)) ?? (await this.#freeze(month, await now()))
      // The race it ends: A and B find the month open · A freezes it · B, which has seen no record, is refused and finds A's.
      if (!standing) continue
      // Also for one that stood before: whoever closed it may have died before this.
      await this.#note({ month, what: 'closed', at: standing.at, by: standing.by, closedAt: standing.at })
      return standing
    }
  }

  /** Opens a month again; answers how it was closed, nothing when it was not. */
  async reopen(month: string, { at, by }: { at: number; by: ClosedBy }): Promise<Closing | undefined> {
    for (;;) {
      const record = await this.#records.get(keyOf(month))
      if (!record) return undefined
      const closing = JSON.parse(record.value) as Closing
      // Before it happens: a snapshot that is gone must not be gone without a trace.
      await this.#note({ month, what: 'reopened', at, by, closedAt: closing.at })
      if (await this.#records.delete(keyOf(month), record.version)) return closing
    }
  }

  /** The last closings and reopenings of all months, oldest first. */
  async history(): Promise<ClosingStep[]> {
    return stepsIn((await this.#records.get(HISTORY))?.value)
  }

  async #freeze(month: string, closing: Closing): Promise<Closing | undefined> {
    return (await this.#records.put(keyOf(month), JSON.stringify(closing), '')) ? closing : undefined
  }

  /** Adds a step to the history; one of the same closing that is there is replaced. */
  async #note(step: ClosingStep): Promise<void> {
    for (;;) {
      const record = await this.#records.get(HISTORY)
      const others = stepsIn(record?.value).filter(other => !isSame(other, step))
      const steps = [...others, step].sort((a, b) => a.at - b.at).slice(-STEPS_KEPT)
      const value = JSON.stringify(steps)
      if (value === record?.value || (await this.#records.put(HISTORY, value, record?.version ?? ''))) return
    }
  }
}

const keyOf = (month: string) => `closing:${month}`
const stepsIn = (value = '[]') => JSON.parse(value) as ClosingStep[]

function isSame(one: ClosingStep, other: ClosingStep): boolean {
  return one.month === other.month && one.what === other.what && one.closedAt === other.closedAt
}
