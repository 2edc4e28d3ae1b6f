import type { Redis } from 'ioredis'
import type { Booked, LedgerEntry, LedgerStore, ReserveOutcome, SettledCall, UsageDay } from '../../storage.js'
import {
  ACTIVITY_COUNTERS,
  byDayThenTeam,
  COUNTERS,
  type Counter,
  checkAmounts,
  daysOf,
  type Totals,
  toTotals,
} from '../totals.js'
import type { Connection } from './connection.js'
import { ADD_ACTIVITY, READ_BOOKED, RECORD_BALANCE, RELEASE, RESERVE, SETTLE } from './ledger-scripts.js'

const SCAN_BATCH = 500

/**
 * The ledger in Redis: keys without a time to live, so never evicted under a `volatile-*` policy.
 * All share the hash tag `{prefix}`, so a cluster keeps them on one node, where a script may touch them together.
 */
export function createLedger(connection: Connection, prefix: string): LedgerStore {
  const scripts = defineScripts(connection)
  const keys = keysUnder(prefix)
  const keysOf = (call: { day: string; month: string }) =>
    [keys.calls(call.day), keys.totals(call.day), keys.booked(call.month)] as const

  return {
    async reserve(call, limits) {
      checkAmounts({ estimate: call.estimate, ...limits })
      const { daily = '', monthly = '' } = limits
      const value = encodeEntry({ ...call, state: 'reserved' }, call.estimate)
      return toOutcome(
        await scripts.reserve(...keysOf(call), call.callId, call.team, call.estimate, daily, monthly, value),
      )
    },
    async settle(call, settled) {
      checkAmounts({ cost: settled.cost, estimate: call.estimate })
      const value = encodeEntry({ ...call, state: settled.outcome, settled }, settled.cost)
      await scripts.settle(...keysOf(call), call.callId, call.team, ...countersOf(settled), settled.cost, value)
    },
    async release(call) {
      await scripts.release(...keysOf(call), call.callId, call.team)
    },
    async booked(team, windows) {
      return toBooked(await scripts.readBooked(...keysOf(windows), team))
    },
    async addActivity(team, day, activity) {
      checkAmounts({ ...activity })
      const pairs = ACTIVITY_COUNTERS.filter(name => activity[name] > 0).flatMap(name => [name, activity[name]])
      if (pairs.length > 0) await scripts.addActivity(keys.totals(day), team, ...pairs)
    },
    async usage(month, team) {
      const days = await Promise.all(daysOf(month).map(day => readDay(connection, keys, day, team)))
      return days.flat().sort(byDayThenTeam)
    },
    entries: day => scanEntries(connection, keys.calls(day)),
    async recordBalance({ remaining, at }) {
      checkAmounts({ at, remaining: Math.abs(remaining) })
      await scripts.recordBalance(keys.balance, at, remaining)
    },
    async balance() {
      const [at, remaining] = await connection.run(redis => redis.hmget(keys.balance, 'at', 'remaining'))
      return at && remaining ? { at: Number(at), remaining: Number(remaining) } : undefined
    },
  }
}

function defineScripts(connection: Connection) {
  return {
    reserve: connection.script('ledgerReserve', 3, RESERVE),
    settle: connection.script('ledgerSettle', 3, SETTLE),
    release: connection.script('ledgerRelease', 3, RELEASE),
    readBooked: connection.script('ledgerBooked', 3, READ_BOOKED),
    addActivity: connection.script('ledgerAddActivity', 1, ADD_ACTIVITY),
    recordBalance: connection.script('ledgerRecordBalance', 1, RECORD_BALANCE),
  }
}

type Keys = ReturnType<typeof keysUnder>

function keysUnder(prefix: string) {
  const ledger = `{${prefix}:ledger}`
  return {
    calls: (day: string) => `${ledger}:calls:${day}`,
    totals: (day: string) => `${ledger}:totals:${day}`,
    booked: (month: string) => `${ledger}:booked:${month}`,
    balance: `${ledger}:balance`,
  }
}

function countersOf({ outcome }: SettledCall): [Counter, Counter] {
  return outcome === 'charged' ? ['paidCalls', 'charged'] : ['unknownCalls', 'unknown']
}

function encodeEntry(entry: LedgerEntry, amount: number): string {
  return `${entry.state}:${amount}:${JSON.stringify(entry)}`
}

function decodeEntry(value: string): LedgerEntry {
  return JSON.parse(value.slice(value.indexOf('{'))) as LedgerEntry
}

function toOutcome(answer: unknown): ReserveOutcome {
  const booked = toBooked(answer)
  const [what] = answer as ['ok' | 'daily' | 'monthly', string, string]
  return what === 'ok' ? { ok: true, booked } : { ok: false, window: what, booked }
}

function toBooked(answer: unknown): Booked {
  const [, daily, monthly] = answer as [string, string, string]
  return { daily: Number(daily), monthly: Number(monthly) }
}

async function readDay(connection: Connection, keys: Keys, day: string, team?: string): Promise<UsageDay[]> {
  const fields = await connection.run(redis => readFields(redis, keys.totals(day), team))
  const teams = new Map<string, Partial<Totals>>()
  for (const [field, value] of fields) {
    const cut = field.lastIndexOf(':')
    const of = teams.get(field.slice(0, cut)) ?? {}
    of[field.slice(cut + 1) as Counter] = Number(value)
    teams.set(field.slice(0, cut), of)
  }
  return [...teams].map(([name, counters]) => ({ team: name, day, ...toTotals(counters) }))
}

async function readFields(redis: Redis, key: string, team?: string): Promise<[field: string, value: string][]> {
  if (team === undefined) return Object.entries(await redis.hgetall(key))
  const fields = COUNTERS.map(name => `${team}:${name}`)
  const values = await redis.hmget(key, ...fields)
  return fields.flatMap((field, index) => (values[index] ? [[field, values[index]] as [string, string]] : []))
}

/** In steps, since a day may hold many calls. A scan may show an entry twice, and then the later sight counts. */
async function scanEntries(connection: Connection, key: string): Promise<LedgerEntry[]> {
  const entries = new Map<string, LedgerEntry>()
  let cursor = '0'
  do {
    const [next, flat] = await connection.run(redis => redis.hscan(key, cursor, 'COUNT', SCAN_BATCH))
    for (let index = 0; index < flat.length; index += 2) {
      entries.set(flat[index] as string, decodeEntry(flat[index + 1] as string))
    }
    cursor = next
  } while (cursor !== '0')
  return [...entries.values()]
}
