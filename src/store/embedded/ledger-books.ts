import type { AccountBook, BalanceSample, Booked, CallEntry, LedgerEntry } from '../../storage.js'
import { ACCOUNT_COUNTERS, bookedIn, type Counter, type Totals } from '../totals.js'
import type { Environment } from './environment.js'

/** What is left of a call that was released before its reservation arrived. */
export const RELEASED = { state: 'released' } as const

export type Books = ReturnType<typeof openBooks>

export function openBooks({ root }: Environment) {
  return {
    /** By day and call id. */
    calls: root.openDB<LedgerEntry | typeof RELEASED, string[]>('calls', {}),
    /** Calls still reserved, by the time they were reserved at, day and call id. */
    open: root.openDB<true, [number, string, string]>('open', {}),
    /** By day and team. */
    totals: root.openDB<Partial<Totals>, [string, string]>('totals', {}),
    /** What is booked in all, by month and team. */
    months: root.openDB<number, [string, string]>('months', {}),
    balance: root.openDB<{ remaining: number; at: number; since?: number }, string>('balance', {}),
    account: root.openDB<AccountCounters, string>('account', {}),
    /** Calls that ended as unknown, by the time they ended at, day and call id. */
    unknown: root.openDB<true, [number, string, string]>('unknown', {}),
    /** The last costs that were told, newest first. */
    costs: root.openDB<number[], string>('costs', {}),
  }
}

export interface Windows {
  team: string
  day: string
  month: string
}

export function bookedBy(books: Books, { team, day, month }: Windows): Booked {
  return { daily: bookedIn(books.totals.get([day, team])), monthly: books.months.get([month, team]) ?? 0 }
}

/** An entry, and not the mark of one that was released before its reservation arrived. */
export function known(entry: LedgerEntry | typeof RELEASED | undefined): LedgerEntry | undefined {
  return entry && entry.state !== 'released' ? entry : undefined
}

export function count(books: Books, { day, team }: Omit<Windows, 'month'>, amounts: Partial<Totals>): void {
  const totals = { ...books.totals.get([day, team]) }
  for (const [name, amount] of Object.entries(amounts) as [Counter, number][])
    totals[name] = (totals[name] ?? 0) + amount
  books.totals.put([day, team], totals)
}

export function addToMonth(books: Books, { month, team }: Windows, amount: number): void {
  books.months.put([month, team], (books.months.get([month, team]) ?? 0) + amount)
}

export type AccountCounters = Record<(typeof ACCOUNT_COUNTERS)[number], number>

export function accountOf(books: Books): AccountBook {
  const counters = books.account.get('account')
  const all = Object.fromEntries(ACCOUNT_COUNTERS.map(name => [name, counters?.[name] ?? 0])) as AccountCounters
  return { ...all, reservedCalls: books.open.getKeysCount() }
}

export function tally(books: Books, amounts: Partial<AccountCounters>): void {
  const counters = { ...books.account.get('account') } as Partial<AccountCounters>
  for (const [name, amount] of Object.entries(amounts) as [keyof AccountCounters, number][])
    counters[name] = (counters[name] ?? 0) + amount
  books.account.put('account', counters as AccountCounters)
}

/** What was reserved before the account was kept is not in it: less than nothing is nothing, and nothing is left of it once no call is. */
export function reserveLess(books: Books, amount: number): void {
  const reserved = books.account.get('account')?.reserved ?? 0
  const left = books.open.getKeysCount() === 0 ? 0 : Math.max(0, reserved - amount)
  tally(books, { reserved: left - reserved })
}

export function setUnknownAt(books: Books, unknownAt: number): void {
  const before = books.account.get('account')?.unknownAt ?? 0
  tally(books, { unknownAt: Math.max(0, unknownAt - before) })
}

export function recordBalance(books: Books, sample: Required<BalanceSample>): void {
  const { remaining, at, since, slack } = sample
  const known = books.balance.get('balance')
  // More than a minute ahead: written by a clock that was wrong.
  if (!known || known.at > at + 60_000) return void books.balance.put('balance', { remaining, at, since })
  const isOlder = known.at > at
  const isOverlapping = since < known.at && (known.since ?? known.at) < at
  const isLower = isOverlapping && remaining < known.remaining
  if (isOlder && !(isLower && known.remaining - remaining <= slack)) return
  const isOurs = isOverlapping && !isLower && remaining - known.remaining <= slack
  books.balance.put('balance', {
    ...(isOlder ? known : { at, since }),
    remaining: isOurs ? known.remaining : remaining,
  })
}

export function floorHolds(books: Books, { estimate }: CallEntry, floor: number | undefined): boolean {
  const remaining = books.balance.get('balance')?.remaining
  if (floor === undefined || remaining === undefined) return true
  return remaining - accountOf(books).reserved - estimate >= floor
}
