import type { Test } from 'tap'
import type { AccountBook, CallEntry, SettledCall, Store } from '../../src/storage.js'

/** What the suite needs of a technology. */
export interface Harness {
  /** A fresh, empty store. */
  open(t: Test): Promise<Store>
  /** Lets `seconds` pass for something that has a time to live. */
  elapse(store: Store, kind: Mortal, key: string, seconds: number): Promise<void>
  /** Takes out of the ledger what the version before did not keep, and opens the store anew. */
  downgrade(t: Test, store: Store): Promise<Store>
  /** One that processes share. */
  share(t: Test): Promise<SharedPlace>
}

export type Mortal = 'result' | 'image' | 'request' | 'record' | 'share'

/** Where processes find the same store, and this one, too. */
export interface SharedPlace {
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

export const NO_ACCOUNT: AccountBook = {
  ...{ sequence: 0, spent: 0, reserved: 0, reservedCalls: 0, calls: 0, estimatedCalls: 0, unknownAt: 0 },
}
