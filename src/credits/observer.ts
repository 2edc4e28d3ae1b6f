import type { AccountEvent, CreditState, ImplausibleFigure } from '../contracts/account.js'
import type { LedgerEntry, LedgerStep, SettledCall } from '../contracts/ledger.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import type { StoreObserver } from '../contracts/observer.js'

/**
 * End of a call of a dead process: `resumed`: its job was polled to its end; `unknown`: the call
 * stays booked with the estimate.
 */
type OrphanFate = 'resumed' | 'unknown'

/** Events of the credits part, one method each. Methods never throw. */
export interface CreditsObserver extends StoreObserver {
  callBooked(team: string, outcome: SettledCall['outcome'], cost: Nanocredits): void
  /** The outcome of a call that was booked as unknown is known now. `booked`: the amount it had. */
  unknownSettled(team: string, booked: Nanocredits): void
  /**
   * Called only in the replica that changed the shared state. `before` is absent for the very first
   * state.
   */
  creditStateChanged(state: CreditState): void
  /** Called only in the replica that recorded the event. */
  accountEventRecorded(event: AccountEvent): void
  /** Segmind stated a figure that the other figures contradict. It was not used. */
  figureImplausible(figure: ImplausibleFigure): void
  /** Segmind's balance endpoint did not answer. */
  balanceRequestFailed(error: unknown): void
  /** The store keeps refusing a step although it takes others, so the step was dropped. */
  ledgerStepLost(step: LedgerStep, error: unknown): void
  /** A call of a dead process was ended. */
  orphanSettled(entry: LedgerEntry, fate: OrphanFate): void
}
