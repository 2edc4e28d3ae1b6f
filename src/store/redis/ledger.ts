import type { AccountBook, Booked, LedgerStore, ReserveOutcome } from '../../storage.js'
import { ACCOUNT_COUNTERS, ACTIVITY_COUNTERS, COSTS_REMEMBERED, checkAmounts } from '../totals.js'
import type { Connection } from './connection.js'
import { encodeEntry, encodeReserved, keysUnder, memberOf, RELEASED, scriptKeys } from './ledger-keys.js'
import { createReads } from './ledger-reads.js'
import {
  ADD_ACTIVITY,
  NOTE,
  READ_ACCOUNT,
  READ_BOOKED,
  RECORD_BALANCE,
  RELEASE,
  RESERVE,
  SETTLE,
} from './ledger-scripts.js'
import { createSharing } from './sharing.js'

/**
 * The ledger in Redis: keys without a time to live, so never evicted under a `volatile-*` policy.
 * All share the hash tag `{prefix}`, so a cluster keeps them on one node, where a script may touch them together.
 */
export function createLedger(connection: Connection, prefix: string): LedgerStore {
  const scripts = defineScripts(connection)
  const keys = keysUnder(prefix)
  const keysOf = (call: { day: string; month: string }) => scriptKeys(keys, call)
  return {
    ...createReads(connection, keys),
    async reserve(call, limits) {
      checkAmounts({ at: call.at, estimate: call.estimate, ...limits })
      const { daily = '', monthly = '', floor = '' } = limits
      const who = [call.callId, call.team, call.estimate, daily, monthly] as const
      const what = [encodeReserved(call), call.at, memberOf(call), floor] as const
      return toOutcome(await scripts.reserve(...keysOf(call), ...who, ...what))
    },
    async note(call) {
      checkAmounts({ at: call.at, estimate: call.estimate })
      const who = [call.callId, call.team, call.estimate] as const
      await scripts.note(...keysOf(call), ...who, encodeReserved(call), call.at, memberOf(call))
    },
    async settle(call, settled) {
      const { outcome, cost, settledAt, costSource } = settled
      checkAmounts({ cost, settledAt, estimate: call.estimate })
      const value = encodeEntry({ ...call, state: outcome, settled }, cost)
      const how = [settledAt, outcome === 'unknown' || costSource === 'estimate' ? 1 : 0, COSTS_REMEMBERED] as const
      const what = [call.callId, call.team, outcome, cost, value, memberOf(call)] as const
      return toAccount(await scripts.settle(...keysOf(call), ...what, ...how))
    },
    async release(call, options) {
      const mark = options?.mayStillArrive ? RELEASED : ''
      await scripts.release(...keysOf(call), call.callId, call.team, memberOf(call), mark)
    },
    async account() {
      return toAccount(await scripts.readAccount(...keysOf({ day: '', month: '' })))
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

function defineScripts(connection: Connection) {
  return {
    reserve: connection.script('ledgerReserve', 8, RESERVE),
    note: connection.script('ledgerNote', 8, NOTE),
    settle: connection.script('ledgerSettle', 8, SETTLE),
    release: connection.script('ledgerRelease', 8, RELEASE),
    readBooked: connection.script('ledgerBooked', 8, READ_BOOKED),
    readAccount: connection.script('ledgerAccount', 8, READ_ACCOUNT),
    addActivity: connection.script('ledgerAddActivity', 1, ADD_ACTIVITY),
    recordBalance: connection.script('ledgerRecordBalance', 1, RECORD_BALANCE),
  }
}

function toOutcome(answer: unknown): ReserveOutcome {
  const [what, , , told] = answer as ['ok' | 'daily' | 'monthly' | 'floor', string, string, string[]]
  const now = { booked: toBooked(answer), account: toAccount(told) }
  return what === 'ok' ? { ok: true, ...now } : { ok: false, window: what, ...now }
}

function toBooked(answer: unknown): Booked {
  const [, daily, monthly] = answer as [string, string, string]
  return { daily: Number(daily), monthly: Number(monthly) }
}

/** In the order of the script: the counters, then how many calls are reserved. */
function toAccount(told: unknown): AccountBook {
  const names = [...ACCOUNT_COUNTERS, 'reservedCalls'] as const
  const amounts = (told as string[]).map(Number)
  return Object.fromEntries(names.map((name, index) => [name, amounts[index] ?? 0])) as unknown as AccountBook
}
