import type { AccountEvent } from '../../src/contracts/account.js'
import type { LedgerEntry } from '../../src/contracts/ledger.js'
import type { Plan } from './plan.js'

/** One request that arrived at Segmind. Amounts in nanocredits, times by the true clock. */
export interface UpstreamCall {
  id: string
  input: number
  /** The request of the gateway that led the call. */
  requestId: string
  process: string
  at: number
  /** When its answer arrived, or when nothing more could arrive. Absent while it runs. */
  endedAt?: number
  cost: number
  /** The complete picture arrived at a process that was alive. */
  isDelivered: boolean
  /** Segmind stated a cost or a balance that was wrong. */
  isLie: boolean
  /** By how much the stated balance was too low, if it was wrong. */
  balanceError?: number
  status?: number
}

export interface RequestRecord {
  id: string
  input: number
  team: string
  process: string
  at: number
  mode: 'plain' | 'no-cache' | 'only-if-cached'
  hasLeft: boolean
  /** By the code of the error, or how it was answered. */
  outcomes: string[]
  /** The input whose picture was answered. */
  picture?: number
  endedAt?: number
}

export type FaultKind =
  | 'link-down'
  | 'link-lossy'
  | 'store-frozen'
  | 'store-full'
  | 'store-evicted'
  | 'store-emptied'
  | 'store-rolled-back'
  | 'killed'
  | 'drained'
  | 'frozen'
  | 'foreign'
  | 'top-up'
  | 'price'
  | 'balance-lie'
  | 'balance-late'

/** Something that happened to the world. `process`, `amount` where it has one. */
export interface FaultRecord {
  kind: FaultKind
  from: number
  to: number
  process?: string
  amount?: number
  /** A replica had seen a step of the ledger that the store has lost. */
  isSeen?: boolean
}

export interface LogLine {
  at: number
  process: string
  level: string
  message: string
  fields: Record<string, unknown>
}

/** Everything observed in the run of one seed. */
export interface History {
  plan: Plan
  calls: UpstreamCall[]
  requests: RequestRecord[]
  faults: FaultRecord[]
  logs: LogLine[]
  /** When an operator accepted the ledger. */
  acceptedAt?: number
  /** At the end. */
  entries: LedgerEntry[]
  mismatches: string[]
  spent: number
  leftovers: Record<string, number>
  /** Inputs whose result is a hit at the end. */
  cached: number[]
  account?: { remaining: number; drift: number; topUps: number; events: AccountEvent[] } | undefined
  /** At Segmind: the balance at first and at last, and what others spent. */
  segmind: { opening: number; balance: number; foreign: number; topUps: number }
  /** Errors that no code caught. */
  uncaught: string[]
  endedAt: number
}
