import { createHash } from 'node:crypto'
import type { AuditActor } from '../contracts/records.js'
import type { ClosingStep, Statement } from '../contracts/statements.js'
import type { RecordStore } from '../contracts/store.js'

/** A month as it was at its closing. */
export interface Closing {
  /** Milliseconds since 1970. */
  at: number
  by: AuditActor
  statement: Statement
}

const HISTORY = 'closings'
const STEPS_KEPT = 100

/**
 * Closed months in the store that all processes share. If two processes close or reopen a month at
 * the same time, one of them succeeds. Rejects with `StoreError`.
 */
export class Closings {
  readonly #records: RecordStore

  constructor(records: RecordStore) {
    this.#records = records
  }

  async find(month: string): Promise<Closing | undefined> {
    const record = await this.#records.get(keyOf(month))
    return record && (JSON.parse(record.value) as Closing)
  }

  /**
   * Freezes a month as `now` describes it, unless it is closed already. Returns the closing in
   * force.
   */
  async close(month: string, now: () => Promise<Closing>): Promise<Closing> {
    for (;;) {
      const current = (await this.find(month)) ?? (await this.#freeze(month, await now()))
      // The race that ends here: A and B find the month open · A freezes it · B's write is refused,
      // because B saw no record · B finds A's closing.
      if (!current) continue
      // Also for a month that was closed before: its process may have died before it wrote the
      // step.
      await this.#note({ month, what: 'closed', at: current.at, by: current.by, closedAt: current.at })
      return current
    }
  }

  /** Reopens a month. Returns its closing, or undefined if it was not closed. */
  async reopen(month: string, { at, by }: { at: number; by: AuditActor }): Promise<Closing | undefined> {
    for (;;) {
      const record = await this.#records.get(keyOf(month))
      if (!record) return undefined
      const closing = JSON.parse(record.value) as Closing
      // Written first, so that no snapshot disappears without a trace.
      await this.#note({ month, what: 'reopened', at, by, closedAt: closing.at })
      if (await this.#records.delete(keyOf(month), record.version)) return closing
    }
  }

  /** Returns the SHA-256 (hex) of a closed month as it is stored. Undefined if it is not closed. */
  async seal(month: string): Promise<string | undefined> {
    const record = await this.#records.get(keyOf(month))
    return record && createHash('sha256').update(record.value).digest('hex')
  }

  /** Lists the last closings and reopenings of all months, oldest first. */
  async history(): Promise<ClosingStep[]> {
    return stepsIn((await this.#records.get(HISTORY))?.value)
  }

  async #freeze(month: string, closing: Closing): Promise<Closing | undefined> {
    return (await this.#records.put(keyOf(month), JSON.stringify(closing), '')) ? closing : undefined
  }

  /** Adds a step to the history. Replaces an equal step of the same closing. */
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
