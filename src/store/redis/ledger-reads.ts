import type { Redis } from 'ioredis'
import type { LedgerEntry, LedgerStore, UsageDay } from '../../storage.js'
import { byDayThenTeam, COSTS_REMEMBERED, COUNTERS, type Counter, daysOf, type Totals, toTotals } from '../totals.js'
import type { Connection } from './connection.js'
import { decodeEntry, type Keys } from './ledger-keys.js'

const SCAN_BATCH = 500

type Reads = Pick<LedgerStore, 'entry' | 'open' | 'unknown' | 'recentCosts' | 'usage' | 'entries' | 'balance'>

/** What is read without a script. */
export function createReads(connection: Connection, keys: Keys): Reads {
  const { open, unknown, costs, balance } = keys
  return {
    entry: (day, callId) => readEntry(connection, keys, day, callId),
    async open(before, limit) {
      const members = await connection.run(redis => redis.zrangebyscore(open, '-inf', before, 'LIMIT', 0, limit))
      return readMembers(connection, keys, members, 'reserved')
    },
    async unknown(since, limit) {
      const members = await connection.run(redis => redis.zrangebyscore(unknown, since, '+inf', 'LIMIT', 0, limit))
      return readMembers(connection, keys, members, 'unknown')
    },
    async recentCosts() {
      return (await connection.run(redis => redis.lrange(costs, 0, COSTS_REMEMBERED - 1))).map(Number)
    },
    async usage(month, team) {
      const days = await Promise.all(daysOf(month).map(day => readDay(connection, keys, day, team)))
      return days.flat().sort(byDayThenTeam)
    },
    entries: day => scanEntries(connection, keys.calls(day)),
    async balance() {
      const [at, remaining] = await connection.run(redis => redis.hmget(balance, 'at', 'remaining'))
      return at && remaining ? { at: Number(at), remaining: Number(remaining) } : undefined
    },
  }
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

/** The entries of those members that still are in that state. */
async function readMembers(
  connection: Connection,
  keys: Keys,
  members: readonly string[],
  state: LedgerEntry['state'],
): Promise<LedgerEntry[]> {
  const read = members.map(member => {
    const cut = member.indexOf('/')
    return readEntry(connection, keys, member.slice(0, cut), member.slice(cut + 1))
  })
  const entries = await Promise.all(read)
  return entries.filter(entry => entry !== undefined && entry.state === state) as LedgerEntry[]
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
