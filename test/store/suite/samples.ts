import type { Test } from 'tap'
import type { CallEntry, LedgerTotals, SettledCall, Store } from '../../../src/contracts/store.js'

/** Access of the suite to one kind of store. */
export interface Harness {
  /** Opens a new, empty store. */
  open(t: Test): Promise<Store>
  /** Lets `seconds` pass for an entry with a time to live. */
  elapse(store: Store, kind: ExpiringKind, key: string, seconds: number): Promise<void>
  /** Deletes what the previous version did not keep from the ledger, and reopens the store. */
  downgrade(t: Test, store: Store): Promise<Store>
  /** Sets the stored mark of a team's day, as the store writes it, and reopens the store. Undefined deletes it. */
  setMark(t: Test, store: Store, where: { day: string; team: string }, mark: StoredMark | undefined): Promise<Store>
  /** Creates a store that processes can share. */
  share(t: Test): Promise<SharedStore>
}

type ExpiringKind = 'result' | 'image' | 'request' | 'record' | 'share'

export type StoredMark = Record<'calls' | 'charged', number> & Record<'digest' | 'seal', string>

/** A store that this process and others can open. */
export interface SharedStore {
  technology: 'redis' | 'embedded'
  target: string
  keyPrefix: string
  open(): Promise<Store>
}

export const DAY = '2026-11-30'
export const MONTH = '2026-11'

export function call(callId: string, changes: Partial<CallEntry> = {}): CallEntry {
  const at = Date.UTC(2026, 10, 30, 23, 59, 59, 999)
  const windows = { day: DAY, month: MONTH, at }
  return {
    callId,
    team: 'vision',
    keyId: 'k7Fq2b9d',
    requestId: `req-${callId}`,
    resultId: 'ab'.repeat(32),
    estimate: 100,
    ...windows,
    ...changes,
  }
}

export function charged(cost: number, changes: Partial<SettledCall> = {}): SettledCall {
  return {
    outcome: 'charged',
    cost,
    costSource: 'header',
    settledAt: 1_764_547_200_123,
    upstreamRequestId: 'up-1',
    ...changes,
  }
}

export const unknown = (cost: number): SettledCall => charged(cost, { outcome: 'unknown', costSource: 'estimate' })

export const activity = { requests: 0, hits: 0, coalesced: 0, savedByCache: 0, savedByCoalescing: 0 }
export const money = { paidCalls: 0, charged: 0, unknownCalls: 0, unknown: 0, reservedCalls: 0, reserved: 0, shared: 0 }

/** Removes the identity of the ledger, which differs in each. */
export function figuresOf({ epoch: _epoch, checksum: _checksum, ...figures }: LedgerTotals) {
  return figures
}

export const NO_TOTALS: LedgerTotals = {
  epoch: '',
  checksum: '',
  sequence: 0,
  spent: 0,
  reserved: 0,
  reservedCalls: 0,
  calls: 0,
  estimatedCalls: 0,
  unknownAt: 0,
}
