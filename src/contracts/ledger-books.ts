import type { Nanocredits } from './nanocredits.js'

/** Reads of the verifier, and the acceptance by an operator. */
export interface LedgerBooks {
  /** The sequence of the last step in a day `2026-11-22` or a month `2026-11`; 0 for none. */
  lastStep(window: string): Promise<number>
  /** The months in which any team has booked, oldest first. */
  months(): Promise<string[]>
  /** Amounts that each team has booked in a month, reservations included. */
  monthly(month: string): Promise<Record<string, Nanocredits>>
  /**
   * Accepts the ledger as it is. Removes the mark of a loss and gives the ledger a new epoch, which
   * processes that know an earlier one take over. `known` is the epoch that the operator's process
   * knows.
   */
  accept(known?: string): Promise<void>
}
