import type { Nanocredits } from './nanocredits.js'

/** The mark of one team's day whose charged entries were removed, all or some of them. */
export interface RolledUpCalls {
  team: string
  calls: number
  charged: Nanocredits
  /** XOR of the SHA-1 of `callId cost` of every call, so the same in any order. Hexadecimal. */
  digest: string
  /** False if the mark is not as it was written. */
  isIntact: boolean
}

/** Reads of the verifier, the roll-up, and the acceptance by an operator. */
export interface LedgerBooks {
  /** The sequence of the last step in a day `2026-11-22` or a month `2026-11`; 0 for none. */
  lastStep(window: string): Promise<number>
  /** The months in which any team has booked, oldest first. */
  months(): Promise<string[]>
  /** Amounts that each team has booked in a month, reservations included. */
  monthly(month: string): Promise<Record<string, Nanocredits>>
  /**
   * Removes the charged entries of a day, and the marks of released calls, in small atomic steps. Each
   * yields the number of charged calls it has removed and added to the mark of their team. All sums stay
   * as they are. Can be stopped after each step, and repeated. `limit`: entries of one step, default 100.
   */
  rollUp(day: string, limit?: number): AsyncIterable<number>
  /** The marks that the roll-up left in a day, ordered by team. */
  rolledUp(day: string): Promise<RolledUpCalls[]>
  /** The latest day that was rolled up, also in part. Empty if there is none. */
  rolledUpTo(): Promise<string>
  /**
   * Accepts the ledger as it is. Removes the mark of a loss and gives the ledger a new epoch, which
   * processes that know an earlier one take over. `known` is the epoch that the operator's process
   * knows.
   */
  accept(known?: string): Promise<void>
}
