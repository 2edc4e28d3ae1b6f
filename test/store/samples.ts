import type { Test } from 'tap'
import type { CallEntry, SettledCall, Store } from '../../src/storage.js'

/** What the suite needs of a technology: fresh, empty stores, and a way to let time pass for one blob. */
export interface Harness {
  open(t: Test): Promise<Store>
  /** Lets `seconds` pass for a blob, as far as its time to live is concerned. */
  elapse(store: Store, kind: 'result' | 'image', key: string, seconds: number): Promise<void>
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
