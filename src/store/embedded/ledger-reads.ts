import type { LedgerStore } from '../../storage.js'
import { byDayThenTeam, toTotals } from '../totals.js'
import type { Environment } from './environment.js'
import { accountOf, type Books, known } from './ledger-books.js'

type Reads = Pick<
  LedgerStore,
  'entry' | 'open' | 'unknown' | 'account' | 'recentCosts' | 'usage' | 'entries' | 'balance'
>

/** What is read: each sees one state. */
export function createReads(environment: Environment, books: Books): Reads {
  return {
    async entry(day, callId) {
      return environment.read(() => known(books.calls.get([day, callId])))
    },
    async open(before, limit) {
      return environment.read(() => {
        const found = books.open.getKeys({ start: [0], end: [before, '~'], limit })
        return [...found].flatMap(([, day, callId]) => known(books.calls.get([day, callId])) ?? [])
      })
    },
    async unknown(since, limit) {
      return environment.read(() => {
        const found = books.unknown.getKeys({ start: [since], limit })
        return [...found].flatMap(([, day, callId]) => known(books.calls.get([day, callId])) ?? [])
      })
    },
    async account() {
      return environment.read(() => accountOf(books))
    },
    async recentCosts() {
      return environment.read(() => books.costs.get('costs') ?? [])
    },
    async usage(month, team) {
      const range = { start: [`${month}-`], end: [`${month}-~`] }
      const days = environment.read(() => [...books.totals.getRange(range)])
      const rows = days.map(({ key: [day, name], value }) => ({ team: name, day, ...toTotals(value) }))
      return rows.filter(row => team === undefined || row.team === team).sort(byDayThenTeam)
    },
    async entries(day) {
      const range = { start: [day], end: [`${day}~`] }
      return environment.read(() => [...books.calls.getRange(range)].flatMap(({ value }) => known(value) ?? []))
    },
    async balance() {
      const known = environment.read(() => books.balance.get('balance'))
      return known && { remaining: known.remaining, at: known.at }
    },
  }
}
