import type { LedgerEntry, LedgerStore } from '../../contracts/store.js'
import { byDayThenTeam, toDayTotals } from '../totals.js'
import type { Environment } from './environment.js'
import { type LedgerTables, toEntry } from './ledger-tables.js'

type EmbeddedReads = Pick<
  LedgerStore,
  'entry' | 'reservedBefore' | 'unknownSince' | 'recentCosts' | 'usage' | 'entries' | 'balance'
>

const ENTRIES_BATCH = 500

/** Creates the reads. Each sees one consistent state, except `entries`. */
export function createReads(environment: Environment, tables: LedgerTables): EmbeddedReads {
  return {
    async entry(day, callId) {
      return environment.read(() => toEntry(tables.calls.get([day, callId])))
    },
    async reservedBefore(before, limit) {
      return environment.read(() => {
        const found = tables.open.getKeys({ start: [0], end: [before, '~'], limit })
        return [...found].flatMap(([, day, callId]) => toEntry(tables.calls.get([day, callId])) ?? [])
      })
    },
    async unknownSince(since, limit) {
      return environment.read(() => {
        const found = tables.unknown.getKeys({ start: [since], limit })
        return [...found].flatMap(([, day, callId]) => toEntry(tables.calls.get([day, callId])) ?? [])
      })
    },
    async recentCosts() {
      return environment.read(() => tables.costs.get('costs') ?? [])
    },
    async usage(month, team) {
      const range = { start: [`${month}-`], end: [`${month}-~`] }
      const days = environment.read(() => [...tables.days.getRange(range)])
      const rows = days.map(({ key: [day, name], value }) => ({ team: name, day, ...toDayTotals(value) }))
      return rows.filter(row => team === undefined || row.team === team).sort(byDayThenTeam)
    },
    entries: day => readEntries(environment, tables, day),
    async balance() {
      const balance = environment.read(() => tables.balance.get('balance'))
      return balance && { remaining: balance.remaining, at: balance.at }
    },
  }
}

/** Reads in batches, since a day may hold many calls, and a read holds up the event loop. */
async function readEntries(environment: Environment, tables: LedgerTables, day: string): Promise<LedgerEntry[]> {
  const entries: LedgerEntry[] = []
  let start = [day]
  for (;;) {
    const range = { start, end: [`${day}~`], limit: ENTRIES_BATCH }
    const batch = environment.read(() => [...tables.calls.getRange(range)])
    // Each further batch begins with the last entry of the one before.
    const isLast = ({ key }: { key: string[] }) => key[1] === start[1]
    entries.push(...batch.filter(found => !isLast(found)).flatMap(({ value }) => toEntry(value) ?? []))
    if (batch.length < ENTRIES_BATCH) return entries
    start = batch.at(-1)?.key ?? start
    await new Promise(resolve => setImmediate(resolve))
  }
}
