import type { Booked, BudgetWindow, LedgerStore, LedgerTotals, ReserveOutcome } from '../../contracts/store.js'
import { ACTIVITY_COUNTERS, checkAmounts, LEDGER_COUNTERS, MAX_RECENT_COSTS } from '../totals.js'
import type { RedisConnection } from './connection.js'
import { encodeEntry, encodeReserved, ledgerKeys, memberOf, RELEASED, scriptKeys } from './ledger-keys.js'
import { createReads } from './ledger-reads.js'
import {
  ADD_ACTIVITY,
  NOTE,
  READ_BOOKED,
  READ_TOTALS,
  RECORD_BALANCE,
  RELEASE,
  RESERVE,
  SETTLE,
} from './ledger-scripts.js'
import { createSharing } from './sharing.js'

/**
 * Creates the ledger in Redis. Its keys have no time to live, so a `volatile-*` policy never evicts
 * them.
 */
export function createLedger(connection: RedisConnection, prefix: string): LedgerStore {
  const scripts = defineScripts(connection)
  const keys = ledgerKeys(prefix)
  const keysOf = (windows: { day: string; month: string }) => scriptKeys(keys, windows)
  return {
    ...createReads(connection, keys),
    async reserve(call, limits) {
      checkAmounts({ at: call.at, estimate: call.estimate, ...limits })
      const { callId, team, estimate, at } = call
      const { daily = '', monthly = '', floor = '' } = limits
      const values = [callId, team, estimate, daily, monthly, encodeReserved(call), at, memberOf(call), floor]
      return toOutcome(await scripts.reserve(...keysOf(call), ...values))
    },
    async note(call) {
      const { callId, team, estimate, at } = call
      checkAmounts({ at, estimate })
      await scripts.note(...keysOf(call), callId, team, estimate, encodeReserved(call), at, memberOf(call))
    },
    async settle(call, settled) {
      const { callId, team, estimate } = call
      const { outcome, cost, settledAt, costSource } = settled
      checkAmounts({ cost, settledAt, estimate })
      const value = encodeEntry({ ...call, state: outcome, settled }, cost)
      const isEstimate = outcome === 'unknown' || costSource === 'estimate' ? 1 : 0
      const values = [callId, team, outcome, cost, value, memberOf(call), settledAt, isEstimate, MAX_RECENT_COSTS]
      return toTotals(await scripts.settle(...keysOf(call), ...values))
    },
    async release(call, options) {
      const mark = options?.mayStillArrive ? RELEASED : ''
      await scripts.release(...keysOf(call), call.callId, call.team, memberOf(call), mark)
    },
    async totals() {
      return toTotals(await scripts.readTotals(...keysOf({ day: '', month: '' })))
    },
    share: createSharing(connection, { totals: keys.totals, share: keys.share }),
    async booked(team, windows) {
      return toBooked(await scripts.readBooked(...keysOf(windows), team))
    },
    async addActivity(team, day, activity) {
      checkAmounts({ ...activity })
      const pairs = ACTIVITY_COUNTERS.filter(name => activity[name] > 0).flatMap(name => [name, activity[name]])
      if (pairs.length > 0) await scripts.addActivity(keys.totals(day), team, ...pairs)
    },
    async recordBalance({ remaining, at, since = at, slack = 0 }) {
      checkAmounts({ at, since, slack, remaining: Math.abs(remaining) })
      await scripts.recordBalance(keys.balance, at, remaining, since, slack)
    },
  }
}

function defineScripts(connection: RedisConnection) {
  return {
    reserve: connection.script('ledgerReserve', 8, RESERVE),
    note: connection.script('ledgerNote', 8, NOTE),
    settle: connection.script('ledgerSettle', 8, SETTLE),
    release: connection.script('ledgerRelease', 8, RELEASE),
    readBooked: connection.script('ledgerBooked', 8, READ_BOOKED),
    readTotals: connection.script('ledgerTotals', 8, READ_TOTALS),
    addActivity: connection.script('ledgerAddActivity', 1, ADD_ACTIVITY),
    recordBalance: connection.script('ledgerRecordBalance', 1, RECORD_BALANCE),
  }
}

function toOutcome(answer: unknown): ReserveOutcome {
  const [result, , , totals] = answer as ['ok' | BudgetWindow | 'floor', string, string, string[]]
  const after = { booked: toBooked(answer), totals: toTotals(totals) }
  return result === 'ok' ? { ok: true, ...after } : { ok: false, window: result, ...after }
}

function toBooked(answer: unknown): Booked {
  const [, daily, monthly] = answer as [string, string, string]
  return { daily: Number(daily), monthly: Number(monthly) }
}

/** Reads the totals in the order of the script: the counters, then the number of reserved calls. */
function toTotals(answer: unknown): LedgerTotals {
  const names = [...LEDGER_COUNTERS, 'reservedCalls'] as const
  const amounts = (answer as string[]).map(Number)
  return Object.fromEntries(names.map((name, index) => [name, amounts[index] ?? 0])) as unknown as LedgerTotals
}
