import type { BalanceReading, BudgetWindow } from './ledger.js'
import type { Nanocredits } from './nanocredits.js'
import type { HistoryStatus } from './request-history.js'

/** The account's balance as the endpoint states it, and the free credits in it. */
export interface AccountBalance {
  remaining: Nanocredits
  free: Nanocredits
}

/** Certainty of the balance: never read, read in the last minutes, or older. */
export type BalanceState = 'unknown' | 'fresh' | 'stale'

/**
 * `normal`: every team may spend · `reserve`: the balance is below `RESERVE_CREDITS`, only
 * protected teams may spend · `empty`: no purchases, cached results are still served.
 */
export type CreditStateName = 'normal' | 'reserve' | 'empty'

/** State of the shared account's credits. */
export interface CreditState {
  name: CreditStateName
  /** Milliseconds since 1970. */
  since: number
  /** The previous state; absent on the first one. */
  before?: CreditStateName
  /**
   * The lowest balance since the account is empty. Credits are back once the balance is clearly
   * above it.
   */
  lowest?: Nanocredits
}

/** Windows over which the burn is measured. */
export type BurnWindow = '1h' | '24h' | '7d'

/** Nanocredits per second, by window. A window is absent while too little of it is known. */
export type Burn = Partial<Record<BurnWindow, number>>

/** Time the balance lasts at the highest known burn. */
export interface Runway {
  seconds: number
  /** Milliseconds since 1970. */
  emptyAt: number
  /** The window of that burn. */
  window: BurnWindow
}

/** A price change: the median cost of a call before, and now. */
export interface PriceChange {
  from: Nanocredits
  to: Nanocredits
}

/**
 * Why the balance differs from the ledger: `topUp` · `foreign`: another client spends with the
 * shared key · `unknown`: calls whose cost is unknown · `estimate`: calls that Segmind reported no
 * cost for. Rounding of the last digit is no event.
 */
export type DifferenceKind = 'topUp' | 'foreign' | 'unknown' | 'estimate'

/** A figure of Segmind that the other figures contradict. */
export interface ImplausibleFigure {
  figure: 'cost' | 'balance'
  claimed: Nanocredits
  /** The estimate of the cost, or the balance by the ledger. */
  expected: Nanocredits
  /** The call whose cost it is. */
  call?: { day: string; callId: string }
}

/** A difference between balance and ledger, a price change, or a figure that was not believed. */
export interface AccountEvent {
  id: string
  /** Milliseconds since 1970. */
  at: number
  month: string
  kind: DifferenceKind | 'price' | 'implausible'
  /**
   * Credits added (`topUp`), the claimed figure less the expected one (`implausible`, which moves
   * nothing), else credits spent beyond what is booked; negative when less was spent.
   */
  amount: Nanocredits
  /** Present for `implausible`. */
  implausible?: ImplausibleFigure
}

/**
 * The shared account as operators see it. Members are absent while unknown; times are milliseconds
 * since 1970.
 */
export interface AccountStatus {
  balance: { state: BalanceState } & Partial<BalanceReading>
  state?: CreditState
  reserve: Nanocredits
  burn: Burn
  runway?: Runway & { timeOfDay: string }
  /** The last time the balance and the ledger were reconciled. */
  agreed?: { at: number; drift: Nanocredits; topUps: Nanocredits }
  price: { estimate: Nanocredits; change?: PriceChange }
  /** The newest last. */
  events: readonly AccountEvent[]
  history: HistoryStatus
}

/** Segmind's last verdict on the shared key. */
export type SharedKeyState = 'accepted' | 'refused'

/** One window of a team's budget: its limit, the booked amount, and the rest. */
export interface BudgetStanding {
  team: string
  window: BudgetWindow
  /** `2026-11-27` or `2026-11`. */
  windowName: string
  limit: Nanocredits
  /** Charged, unknown and reserved. */
  booked: Nanocredits
  /** `limit` less `booked`; negative when overdrawn. */
  remaining: Nanocredits
}
