import type { Redis } from 'ioredis'
import type { Booked, CallEntry, LedgerEntry, LedgerStore, ReserveOutcome, UsageDay } from '../../storage.js'
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
import { ADD_ACTIVITY, NOTE, READ_BOOKED, RECORD_BALANCE, RELEASE, RESERVE, SETTLE } from './ledger-scripts.js'

const SCAN_BATCH = 500

/**
 * The ledger in Redis: keys without a time to live, so never evicted under a `volatile-*` policy.
 * All share the hash tag `{prefix}`, so a cluster keeps them on one node, where a script may touch them together.
 */
export function createLedger(connection: Connection, prefix: string): LedgerStore {
  const scripts = defineScripts(connection)
  const keys = keysUnder(prefix)
  const keysOf = (call: { day: string; month: string }) =>
    [keys.calls(call.day), keys.totals(call.day), keys.booked(call.month), keys.open] as const

  return {
    async reserve(call, limits) {
      checkAmounts({ at: call.at, estimate: call.estimate, ...limits })
      const { daily = '', monthly = '' } = limits
      const who = [call.callId, call.team, call.estimate] as const
      return toOutcome(
        await scripts.reserve(...keysOf(call), ...who, daily, monthly, encodeReserved(call), call.at, memberOf(call)),
      )
    },
    async note(call) {
      checkAmounts({ at: call.at, estimate: call.estimate })
      const who = [call.callId, call.team, call.estimate] as const
      await scripts.note(...keysOf(call), ...who, encodeReserved(call), call.at, memberOf(call))
    },
    async settle(call, settled) {
      checkAmounts({ cost: settled.cost, estimate: call.estimate })
      const { outcome, cost } = settled
      const value = encodeEntry({ ...call, state: outcome, settled }, cost)
      await scripts.settle(...keysOf(call), call.callId, call.team, outcome, cost, value, memberOf(call))
    },
    async release(call, options) {
      const mark = options?.mayStillArrive ? RELEASED : ''
      await scripts.release(...keysOf(call), call.callId, call.team, memberOf(call), mark)
    },
    entry: (day, callId) => readEntry(connection, keys, day, callId),
    open: (before, limit) => readOpen(connection, keys, before, limit),
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
    reserve: connection.script('ledgerReserve', 4, RESERVE),
    note: connection.script('ledgerNote', 4, NOTE),
    settle: connection.script('ledgerSettle', 4, SETTLE),
    release: connection.script('ledgerRelease', 4, RELEASE),
    readBooked: connection.script('ledgerBooked', 4, READ_BOOKED),
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
    open: `${ledger}:open`,
    balance: `${ledger}:balance`,
  }
}

/** What is left of a call that was released before its reservation arrived. */
const RELEASED = 'released:0:{}'

function memberOf({ day, callId }: CallEntry): string {
  return `${day}/${callId}`
}

async function readEntry(
  connection: Connection,
  keys: Keys,
  day: string,
  callId: string,
): Promise<LedgerEntry | undefined> {
  const value = await connection.run(redis => redis.hget(keys.calls(day), callId))
  return value ? decodeEntry(value) : undefined
}

async function readOpen(connection: Connection, keys: Keys, before: number, limit: number): Promise<LedgerEntry[]> {
  const members = await connection.run(redis => redis.zrangebyscore(keys.open, '-inf', before, 'LIMIT', 0, limit))
  const read = members.map(member => {
    const cut = member.indexOf('/')
    return readEntry(connection, keys, member.slice(0, cut), member.slice(cut + 1))
  })
  const entries = await Promise.all(read)
  return entries.filter(entry => entry?.state === 'reserved') as LedgerEntry[]
}

function encodeReserved(call: CallEntry): string {
  return encodeEntry({ ...call, state: 'reserved' }, call.estimate)
}

function encodeEntry(entry: LedgerEntry, amount: number): string {
  return `${entry.state}:${amount}:${JSON.stringify(entry)}`
}

function decodeEntry(value: string): LedgerEntry | undefined {
  return value === RELEASED ? undefined : (JSON.parse(value.slice(value.indexOf('{'))) as LedgerEntry)
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
      const entry = decodeEntry(flat[index + 1] as string)
      if (entry) entries.set(flat[index] as string, entry)
    }
    cursor = next
  } while (cursor !== '0')
  return [...entries.values()]
}
