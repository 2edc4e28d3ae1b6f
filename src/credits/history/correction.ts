import { randomUUID } from 'node:crypto'
import type { LedgerEntry, RecordStore } from '../../contracts/store.js'
import { ACCOUNT_KEY, type AccountRecord, readAccount, withEvent } from '../account/record.js'

/** A call whose end was changed after the balance may have been reconciled with its former end. */
export interface Correction {
  /** The entry before the change. */
  entry: LedgerEntry
  /** 0 for an unknown call: it was removed. */
  cost: number
  at: number
  /** The sequence of the ledger after the change. */
  sequence: number
  /** The month of `at` in `BUDGET_TIMEZONE`. */
  month: string
}

const MAX_TRIES = 5

/**
 * Moves the difference between the former and the exact cost of a call from drift to the booked
 * amounts. The balance has not moved, so without this the next comparison would report a top-up or
 * foreign spending.
 */
export async function recordCorrection(records: RecordStore, correction: Correction): Promise<void> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const { record, version } = await readAccount(records)
    const next = record && corrected(record, correction)
    if (!next || (await records.put(ACCOUNT_KEY, JSON.stringify(next), version))) return
  }
}

/** Returns undefined if the last reconciliation lacks the call, or has its exact cost already. */
export function corrected(
  record: AccountRecord,
  { entry, cost, at, sequence, month }: Correction,
): AccountRecord | undefined {
  const { anchor } = record
  const { settled, state } = entry
  if (!settled || settled.settledAt > anchor.at || anchor.sequence >= sequence) return undefined
  const more = cost - settled.cost
  const reading = { remaining: anchor.remaining, at: anchor.at }
  const sums = record.months[month] ?? { opening: reading, closing: reading, topUps: 0, booked: 0, drift: 0 }
  const kind = state === 'unknown' ? 'unknown' : 'estimate'
  const event = { id: randomUUID(), at, month, kind, amount: -more } as const
  return {
    ...record,
    // A balance that was requested before is compared with the former amounts, so it is not used.
    movedAt: at,
    anchor: {
      ...anchor,
      spent: anchor.spent + more,
      calls: anchor.calls - (cost === 0 && state === 'unknown' ? 1 : 0),
      estimatedCalls: anchor.estimatedCalls - 1,
    },
    drift: record.drift - more,
    months: { ...record.months, [month]: { ...sums, booked: sums.booked + more, drift: sums.drift - more } },
    events: more === 0 ? record.events : withEvent(record.events, event),
  }
}
