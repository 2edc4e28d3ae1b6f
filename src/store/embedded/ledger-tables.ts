import { defined } from '../../contracts/defined.js'
import type { BalanceSample, Booked, CallEntry, LedgerEntry, LedgerLoss, LedgerTotals } from '../../contracts/store.js'
import type { Mark } from '../roll-up.js'
import { bookedIn, type DayCounter, type DayTotals, LEDGER_COUNTERS } from '../totals.js'
import type { Environment } from './environment.js'

/** Mark of a call that was released before its reservation arrived. */
export const RELEASED = { state: 'released' } as const

export type StoredCall = LedgerEntry | typeof RELEASED

export type LedgerTables = ReturnType<typeof openTables>

/** Opens the ledger's databases. Their names in the file are part of the stored format. */
export function openTables({ root }: Environment) {
  return {
    /** By day and call id. */
    calls: root.openDB<StoredCall, string[]>('calls', {}),
    /** Reserved calls, by time of reservation, day and call id. */
    open: root.openDB<true, [number, string, string]>('open', {}),
    /** By day and team. */
    days: root.openDB<Partial<DayTotals>, [string, string]>('totals', {}),
    /** Booked amounts, by month and team. */
    months: root.openDB<number, [string, string]>('months', {}),
    balance: root.openDB<{ remaining: number; at: number; since?: number }, string>('balance', {}),
    /** Totals and identity of the ledger. */
    totals: root.openDB<LedgerAccount, string>('account', {}),
    /** The last step of each day `2026-11-22` and month `2026-11`. */
    steps: root.openDB<number, string>('steps', {}),
    /** Checksums of the last steps, by `sequence % KEPT_CHECKSUMS`. */
    checksums: root.openDB<{ sequence: number; checksum: string }, number>('checksums', {}),
    /** Unknown calls, by the time they ended, day and call id. */
    unknown: root.openDB<true, [number, string, string]>('unknown', {}),
    /** Marks of the days that were rolled up, by day and team. */
    rolledUp: root.openDB<Mark & { seal: string }, [string, string]>('rolled-up', {}),
    /** The last costs that Segmind reported, newest first. */
    costs: root.openDB<number[], string>('costs', {}),
  }
}

export interface Windows {
  team: string
  day: string
  month: string
}

export function readBooked(tables: LedgerTables, { team, day, month }: Windows): Booked {
  return { daily: bookedIn(tables.days.get([day, team])), monthly: tables.months.get([month, team]) ?? 0 }
}

/** Turns the mark of a released call into undefined. */
export function toEntry(value: StoredCall | undefined): LedgerEntry | undefined {
  return value && value.state !== 'released' ? value : undefined
}

export function addToDay(
  tables: LedgerTables,
  { day, team }: Omit<Windows, 'month'>,
  amounts: Partial<DayTotals>,
): void {
  const totals = { ...tables.days.get([day, team]) }
  for (const [name, amount] of Object.entries(amounts) as [DayCounter, number][])
    totals[name] = (totals[name] ?? 0) + amount
  tables.days.put([day, team], totals)
}

export function addToMonth(tables: LedgerTables, { month, team }: Windows, amount: number): void {
  tables.months.put([month, team], (tables.months.get([month, team]) ?? 0) + amount)
}

export type LedgerCounters = Record<(typeof LEDGER_COUNTERS)[number], number>

/** The counters and the identity of the ledger. Members are absent until they are first written. */
type LedgerAccount = Partial<LedgerCounters> & {
  epoch?: string
  checksum?: string
  lost?: LedgerLoss
  /** Epochs that an operator has accepted as past. */
  past?: string[]
  /** The latest day that was rolled up. */
  rolledUpTo?: string
}

const TOTALS_KEY = 'account'

export function readAccount(tables: LedgerTables): LedgerAccount {
  return tables.totals.get(TOTALS_KEY) ?? {}
}

export function writeAccount(tables: LedgerTables, account: LedgerAccount): void {
  tables.totals.put(TOTALS_KEY, account)
}

export function readTotals(tables: LedgerTables): LedgerTotals {
  const { epoch = '', checksum = '', lost, ...counters } = readAccount(tables)
  const all = Object.fromEntries(LEDGER_COUNTERS.map(name => [name, counters[name] ?? 0])) as LedgerCounters
  return { epoch, checksum, ...all, reservedCalls: tables.open.getKeysCount(), ...defined({ loss: lost }) }
}

export function addToLedger(tables: LedgerTables, amounts: Partial<LedgerCounters>): void {
  const counters = { ...readAccount(tables) }
  for (const [name, amount] of Object.entries(amounts) as [keyof LedgerCounters, number][])
    counters[name] = (counters[name] ?? 0) + amount
  writeAccount(tables, counters)
}

/**
 * Reduces the sum of reserved amounts. Calls reserved by a version that kept no totals are missing
 * in it. So the sum never goes below 0, and is 0 as soon as no call is reserved.
 */
export function reduceReserved(tables: LedgerTables, amount: number): void {
  const { reserved = 0 } = readAccount(tables)
  const left = tables.open.getKeysCount() === 0 ? 0 : Math.max(0, reserved - amount)
  addToLedger(tables, { reserved: left - reserved })
}

export function setUnknownAt(tables: LedgerTables, unknownAt: number): void {
  const { unknownAt: before = 0 } = readAccount(tables)
  addToLedger(tables, { unknownAt: Math.max(0, unknownAt - before) })
}

export function recordBalance(tables: LedgerTables, sample: Required<BalanceSample>): void {
  const { remaining, at, since, slack } = sample
  const known = tables.balance.get('balance')
  // A known time more than a minute ahead was written by a wrong clock and does not count.
  if (!known || known.at > at + 60_000) return void tables.balance.put('balance', { remaining, at, since })
  const isOlder = known.at > at
  const isOverlapping = since < known.at && (known.since ?? known.at) < at
  const isLower = isOverlapping && remaining < known.remaining
  if (isOlder && !(isLower && known.remaining - remaining <= slack)) return
  const keepsKnown = isOverlapping && !isLower && remaining - known.remaining <= slack
  tables.balance.put('balance', {
    ...(isOlder ? known : { at, since }),
    remaining: keepsKnown ? known.remaining : remaining,
  })
}

export function floorHolds(tables: LedgerTables, { estimate }: CallEntry, floor: number): boolean {
  const remaining = tables.balance.get('balance')?.remaining
  return remaining === undefined || remaining - readTotals(tables).reserved - estimate >= floor
}
