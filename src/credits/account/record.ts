import type { Nanocredits } from '../../nanocredits.js'
import type { RecordStore } from '../../storage.js'

/** A balance that the books agreed with: what the account held, and what was booked by then. */
export interface Anchor {
  remaining: Nanocredits
  at: number
  /** `AccountBook` at that moment. */
  sequence: number
  spent: Nanocredits
  calls: number
  estimatedCalls: number
  /** The last difference was seen while calls were under way, and is right within so much; the next quiet look corrects that event. */
  loose?: { eventId: string; slack: Nanocredits }
}

/**
 * Why the balance moved otherwise than booked: `topUp` · `foreign`: somebody else spends with the shared key · `unknown`: calls of which it is
 * not known what they cost · `estimate`: calls whose cost Segmind did not tell. Rounding of the last digit is no event.
 */
export type DifferenceKind = 'topUp' | 'foreign' | 'unknown' | 'estimate'

/** `amount`: what was put in (`topUp`), else what left the account beyond what is booked (below 0: less than booked). */
export interface AccountEvent {
  id: string
  at: number
  month: string
  kind: DifferenceKind | 'price'
  amount: Nanocredits
}

/** One month of the account: opening − closing + topUps = booked + drift, to the nanocredit. */
export interface MonthSums {
  /** The last balance agreed on before this month, or the first one ever. */
  opening: { remaining: Nanocredits; at: number }
  /** The last one agreed on. */
  closing: { remaining: Nanocredits; at: number }
  topUps: Nanocredits
  /** Charged and unknown of all teams between the two. */
  booked: Nanocredits
  /** What left the account and is booked to nobody. */
  drift: Nanocredits
}

/** What all replicas have agreed on about the account. */
export interface AccountRecord {
  anchor: Anchor
  /** Since the first balance. */
  topUps: Nanocredits
  drift: Nanocredits
  months: Record<string, MonthSums>
  /** The newest last; at most `MAX_EVENTS`. */
  events: AccountEvent[]
}

/** One month as a statement shows it. */
export interface AccountMonth extends MonthSums {
  events: AccountEvent[]
}

export const ACCOUNT_KEY = 'account'
export const MAX_EVENTS = 200
export const MAX_MONTHS = 60

/** Reads what is agreed on; nothing while no balance was ever heard. Rejects with `StoreError`. */
export async function readAccount(
  records: Pick<RecordStore, 'get'>,
): Promise<{ record: AccountRecord | undefined; version: string }> {
  const found = await records.get(ACCOUNT_KEY)
  return { record: found && (JSON.parse(found.value) as AccountRecord), version: found?.version ?? '' }
}

/** One month (`2026-11`) of the account; nothing where no balance was heard in it. Rejects with `StoreError`. */
export async function accountMonth(
  records: Pick<RecordStore, 'get'>,
  month: string,
): Promise<AccountMonth | undefined> {
  const { record } = await readAccount(records)
  const sums = record?.months[month]
  return record && sums && { ...sums, events: record.events.filter(event => event.month === month) }
}
