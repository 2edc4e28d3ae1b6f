import type {
  AccountEvent,
  BudgetStanding,
  Burn,
  CreditState,
  ImplausibleFigure,
  SharedKeyState,
} from '../contracts/account.js'
import type { BalanceReading, LedgerState } from '../contracts/store.js'

/** Current facts that alerts depend on. Times in milliseconds since 1970. */
export interface AlertFacts {
  budgets(): Promise<readonly BudgetFact[]>
  credits(): Promise<CreditFacts>
  /** The last state of the shared key that this process has seen. */
  sharedKey(): SharedKeyState | undefined
  /** Default: `ok`. */
  ledger?(): LedgerState
}

/** A budget window with the shares of its limit that trigger an alert: 0.8 = 80 %. */
export type BudgetFact = Omit<BudgetStanding, 'remaining'> & { alertAt: readonly number[] }

/** The account's credits. Members are absent while unknown. */
export interface CreditFacts {
  balance?: BalanceReading
  burn: Burn
  /** `before` is absent on the first known state. */
  state: CreditState | undefined
  /** Credits of the last 24 hours that another client spent. */
  drifts: readonly (Pick<AccountEvent, 'id' | 'at' | 'amount'> & { kind: 'foreign' })[]
  /** Figures of Segmind of the last 24 hours that were not used. */
  implausible: readonly (Pick<AccountEvent, 'id' | 'at'> & ImplausibleFigure)[]
}

/** A condition that holds. It is sent once per `key`. */
export interface Condition {
  key: string
  type: AlertType
  data: Record<string, unknown>
  /** A sentence for people. */
  text: string
  /** Keys of lesser conditions that hold as well and count as sent with this one. */
  covers?: readonly string[]
  isCleared?: false
}

/** A condition that does not hold, and would be sent again if it returned. */
export interface ClearedCondition {
  key: string
  isCleared: true
}

export type AlertType =
  | 'budget.threshold'
  | 'credits.runway'
  | 'credits.state'
  | 'credits.drift'
  | 'credits.implausible'
  | 'upstream.unauthorized'
  | 'ledger.not_whole'
