import type { LedgerBooks, LedgerEntry, LedgerStore, UsageDay } from '../../contracts/store.js'

export type VerifiedLedger = LedgerBooks & Pick<LedgerStore, 'entries' | 'usage' | 'totals'>

/** A sum in the ledger that differs from what it adds up. */
export interface Mismatch {
  /** A day `2026-11-22`, a month `2026-11`, or `ledger` for all of it. */
  window: string
  /** Absent for sums of all teams. */
  team?: string
  figure: string
  /** Nanocredits, or a number of calls. */
  booked: number
  computed: number
}

const FIGURES = ['paidCalls', 'charged', 'unknownCalls', 'unknown', 'reservedCalls', 'reserved'] as const
type Figures = Record<(typeof FIGURES)[number], number>

const CALLS = { charged: 'paidCalls', unknown: 'unknownCalls', reserved: 'reservedCalls' } as const
const ATTEMPTS = 5

/**
 * Compares the sums of a day with its entries and the marks of those that were rolled up. Undefined if
 * the day kept changing meanwhile. Rejects with `StoreError`.
 */
export function verifyDay(ledger: VerifiedLedger, day: string): Promise<Mismatch[] | undefined> {
  return whileUnchanged(
    async () => JSON.stringify([await ledger.lastStep(day), await ledger.rolledUp(day)]),
    async () => {
      const rows = (await ledger.usage(monthOf(day))).filter(row => row.day === day)
      const sums = await sumsOf(ledger.entries(day))
      for (const { team, calls, charged, isIntact } of await ledger.rolledUp(day))
        if (isIntact) addTo(sums, team, { paidCalls: calls, charged })
      const booked = new Map(rows.map(row => [row.team, row]))
      return [...new Set([...booked.keys(), ...sums.keys()])].flatMap(team =>
        differences(day, team, booked.get(team) ?? {}, sums.get(team) ?? {}),
      )
    },
  )
}

/** Compares the sums of a month with those of its days. Undefined if they kept changing. */
export function verifyMonth(ledger: VerifiedLedger, month: string): Promise<Mismatch[] | undefined> {
  return whileUnchanged(
    () => ledger.lastStep(month),
    async () => {
      const booked = await ledger.monthly(month)
      const computed: Record<string, number> = {}
      for (const row of await ledger.usage(month)) computed[row.team] = (computed[row.team] ?? 0) + bookedIn(row)
      return [...new Set([...Object.keys(booked), ...Object.keys(computed)])].flatMap(team =>
        difference({ window: month, team, figure: 'booked' }, booked[team], computed[team]),
      )
    },
  )
}

/** Compares the totals of the ledger with the sums of all its days. Undefined if they kept changing. */
export function verifyTotals(ledger: VerifiedLedger): Promise<Mismatch[] | undefined> {
  return whileUnchanged(
    async () => (await ledger.totals()).sequence,
    async () => {
      const totals = await ledger.totals()
      const rows = (await Promise.all((await ledger.months()).map(month => ledger.usage(month)))).flat()
      const sum = (amountOf: (row: UsageDay) => number) => rows.reduce((total, row) => total + amountOf(row), 0)
      const computed = {
        spent: sum(row => row.charged + row.unknown),
        calls: sum(row => row.paidCalls + row.unknownCalls),
        reserved: sum(row => row.reserved),
        reservedCalls: sum(row => row.reservedCalls),
      }
      return (Object.keys(computed) as (keyof typeof computed)[]).flatMap(figure =>
        difference({ window: 'ledger', figure }, totals[figure], computed[figure]),
      )
    },
  )
}

/** Lists the days of a month that have bookings. */
export async function daysOf(ledger: VerifiedLedger, month: string): Promise<string[]> {
  return [...new Set((await ledger.usage(month)).map(({ day }) => day))].sort()
}

/** Reads again until no step has changed the window meanwhile, which would be no mismatch. */
async function whileUnchanged<T>(version: () => Promise<unknown>, read: () => Promise<T>): Promise<T | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = await version()
    const found = await read()
    if ((await version()) === before) return found
  }
  return undefined
}

const monthOf = (day: string) => day.slice(0, 7)
const bookedIn = ({ charged, unknown, reserved }: UsageDay) => charged + unknown + reserved

async function sumsOf(pages: AsyncIterable<LedgerEntry[]>): Promise<Map<string, Partial<Figures>>> {
  const sums = new Map<string, Partial<Figures>>()
  for await (const page of pages)
    for (const { team, state, estimate, settled } of page)
      addTo(sums, team, { [state]: state === 'reserved' ? estimate : (settled?.cost ?? 0), [CALLS[state]]: 1 })
  return sums
}

function addTo(sums: Map<string, Partial<Figures>>, team: string, more: Partial<Figures>): void {
  const figures = sums.get(team) ?? {}
  for (const [figure, amount] of Object.entries(more) as [keyof Figures, number][])
    figures[figure] = (figures[figure] ?? 0) + amount
  sums.set(team, figures)
}

function differences(window: string, team: string, booked: Partial<Figures>, computed: Partial<Figures>): Mismatch[] {
  return FIGURES.flatMap(figure => difference({ window, team, figure }, booked[figure], computed[figure]))
}

function difference(
  where: Omit<Mismatch, 'booked' | 'computed'>,
  booked: number | undefined = 0,
  computed: number | undefined = 0,
): Mismatch[] {
  return booked === computed ? [] : [{ ...where, booked, computed }]
}
