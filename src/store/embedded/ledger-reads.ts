import type { LedgerStore } from '../../contracts/store.js'
import { byDayThenTeam, toDayTotals } from '../totals.js'
import type { Environment } from './environment.js'
import { type LedgerTables, toEntry } from './ledger-tables.js'

type EmbeddedReads = Pick<
  LedgerStore,
  'entry' | 'reservedBefore' | 'unknownSince' | 'recentCosts' | 'usage' | 'entries' | 'balance'
>

/** Creates the reads. Each sees one consistent state. */
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
    async entries(day) {
      const range = { start: [day], end: [`${day}~`] }
      return environment.read(() => [...tables.calls.getRange(range)].flatMap(({ value }) => toEntry(value) ?? []))
    },
    async balance() {
      const balance = environment.read(() => tables.balance.get('balance'))
      return balance && { remaining: balance.remaining, at: balance.at }
    },
  }
}
