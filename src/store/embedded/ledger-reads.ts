import type { LedgerEntry, LedgerStore } from '../../contracts/store.js'
import { byDayThenTeam, toDayTotals } from '../totals.js'
import type { Environment } from './environment.js'
import { type LedgerTables, type StoredCall, toEntry } from './ledger-tables.js'

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

async function* readEntries(
  environment: Environment,
  tables: LedgerTables,
  day: string,
): AsyncGenerator<LedgerEntry[]> {
  for await (const calls of readCalls(environment, tables, day))
    yield calls.flatMap(({ value }) => toEntry(value) ?? [])
}

/** Reads the calls of a day in pages, since a read holds up the event loop. Includes marks of released calls. */
export async function* readCalls(
  environment: Environment,
  tables: LedgerTables,
  day: string,
  limit = ENTRIES_BATCH,
): AsyncGenerator<{ key: string[]; value: StoredCall }[]> {
  for (let start = [day]; ; ) {
    const page = environment.read(() => [...tables.calls.getRange({ start, end: [`${day}~`], limit: limit + 1 })])
    yield page.slice(0, limit)
    // Each further page begins with the entry that follows the one before.
    const next = page[limit]
    if (!next) return
    start = next.key
    await new Promise(resolve => setImmediate(resolve))
  }
}
