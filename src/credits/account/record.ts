import type { AccountEvent } from '../../contracts/account.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { AccountMonth, MonthSums } from '../../contracts/statements.js'
import type { BalanceReading, RecordStore } from '../../contracts/store.js'

/** A reconciled balance, together with the ledger totals at that moment. */
export interface Anchor extends BalanceReading {
  /** Members of `LedgerTotals` at that moment. */
  sequence: number
  spent: Nanocredits
  calls: number
  estimatedCalls: number
  /**
   * Present if the last difference was seen while calls were in flight, so its amount is exact only
   * within `slack`. The next observation without calls in flight corrects that event.
   */
  loose?: { eventId: string; slack: Nanocredits }
}

/** The reconciliation state that all replicas share. */
export interface AccountRecord {
  anchor: Anchor
  /** When the balance last moved by more than was booked. Calls that began before do not show it. */
  movedAt?: number
  /** Calls of the ledger at the last event of kind `price`. */
  pricedCalls?: number
  /** Sums since the first balance. */
  topUps: Nanocredits
  drift: Nanocredits
  months: Record<string, MonthSums>
  /** The newest last; at most `MAX_EVENTS`. */
  events: AccountEvent[]
}

export const ACCOUNT_KEY = 'account'
const MAX_EVENTS = 200
/** Of the events, those that explain nothing must not displace the others. */
const MAX_IMPLAUSIBLE = 20
export const MAX_MONTHS = 60

/** Adds an event, and drops the oldest ones. */
export function withEvent(events: readonly AccountEvent[], event: AccountEvent): AccountEvent[] {
  const implausible = events.filter(({ kind }) => kind === 'implausible')
  const isFull = event.kind === 'implausible' && implausible.length >= MAX_IMPLAUSIBLE
  const kept = isFull ? events.filter(each => each !== implausible[0]) : events
  return [...kept, event].slice(-MAX_EVENTS)
}

/**
 * Reads the shared state; `record` is undefined before the first balance. Rejects with
 * `StoreError`.
 */
export async function readAccount(
  records: Pick<RecordStore, 'get'>,
): Promise<{ record: AccountRecord | undefined; version: string }> {
  const found = await records.get(ACCOUNT_KEY)
  return { record: found && (JSON.parse(found.value) as AccountRecord), version: found?.version ?? '' }
}

/**
 * Reads one month (`2026-11`) of the account. Undefined if it has no balance. Rejects with
 * `StoreError`.
 */
export async function accountMonth(
  records: Pick<RecordStore, 'get'>,
  month: string,
): Promise<AccountMonth | undefined> {
  const { record } = await readAccount(records)
  const sums = record?.months[month]
  // An implausible figure explains no difference.
  const isOfMonth = (event: AccountEvent) => event.month === month && event.kind !== 'implausible'
  return record && sums && { ...sums, events: record.events.filter(isOfMonth) }
}
