import type { Redis } from 'ioredis'
import type { LedgerBooks, LedgerEntry, LedgerStore, UsageDay } from '../../contracts/store.js'
import {
  byDayThenTeam,
  DAY_COUNTERS,
  type DayCounter,
  type DayTotals,
  daysOf,
  MAX_RECENT_COSTS,
  toDayTotals,
} from '../totals.js'
import type { RedisConnection } from './connection.js'
import { decodeEntry, type LedgerKeys } from './ledger-keys.js'

const SCAN_BATCH = 500

type RedisReads = Pick<LedgerBooks, 'lastStep' | 'months' | 'monthly'> &
  Pick<LedgerStore, 'entry' | 'reservedBefore' | 'unknownSince' | 'recentCosts' | 'usage' | 'entries' | 'balance'>

/** Creates the reads that need no script. */
export function createReads(connection: RedisConnection, keys: LedgerKeys): RedisReads {
  const { open, unknown, costs, balance } = keys
  return {
    entry: (day, callId) => readEntry(connection, keys, day, callId),
    async reservedBefore(before, limit) {
      const members = await connection.run(redis => redis.zrangebyscore(open, '-inf', before, 'LIMIT', 0, limit))
      return readMembers(connection, keys, members, 'reserved')
    },
    async unknownSince(since, limit) {
      const members = await connection.run(redis => redis.zrangebyscore(unknown, since, '+inf', 'LIMIT', 0, limit))
      return readMembers(connection, keys, members, 'unknown')
    },
    async recentCosts() {
      return (await connection.run(redis => redis.lrange(costs, 0, MAX_RECENT_COSTS - 1))).map(Number)
    },
    async usage(month, team) {
      const days = await Promise.all(daysOf(month).map(day => readDay(connection, keys, day, team)))
      return days.flat().sort(byDayThenTeam)
    },
    entries: day => scanEntries(connection, keys.calls(day)),
    lastStep: async window => Number((await connection.run(redis => redis.hget(keys.account, window))) ?? 0),
    months: () => scanMonths(connection, keys.booked('')),
    async monthly(month) {
      const { '*': _lastStep, ...booked } = await connection.run(redis => redis.hgetall(keys.booked(month)))
      return Object.fromEntries(Object.entries(booked).map(([team, amount]) => [team, Number(amount)]))
    },
    async balance() {
      const [at, remaining] = await connection.run(redis => redis.hmget(balance, 'at', 'remaining'))
      return at && remaining ? { at: Number(at), remaining: Number(remaining) } : undefined
    },
  }
}

async function readEntry(
  connection: RedisConnection,
  keys: LedgerKeys,
  day: string,
  callId: string,
): Promise<LedgerEntry | undefined> {
  const value = await connection.run(redis => redis.hget(keys.calls(day), callId))
  return value ? decodeEntry(value) : undefined
}

/** Reads the entries of `members` that are still in the given state. */
async function readMembers(
  connection: RedisConnection,
  keys: LedgerKeys,
  members: readonly string[],
  state: LedgerEntry['state'],
): Promise<LedgerEntry[]> {
  const reads = members.map(member => {
    const slash = member.indexOf('/')
    return readEntry(connection, keys, member.slice(0, slash), member.slice(slash + 1))
  })
  const entries = await Promise.all(reads)
  return entries.filter(entry => entry !== undefined && entry.state === state) as LedgerEntry[]
}

async function readDay(connection: RedisConnection, keys: LedgerKeys, day: string, team?: string): Promise<UsageDay[]> {
  const fields = await connection.run(redis => readFields(redis, keys.totals(day), team))
  const teams = new Map<string, Partial<DayTotals>>()
  for (const [field, value] of fields) {
    const colon = field.lastIndexOf(':')
    // The last step of the day.
    if (colon < 0) continue
    const name = field.slice(0, colon)
    const counters = teams.get(name) ?? {}
    counters[field.slice(colon + 1) as DayCounter] = Number(value)
    teams.set(name, counters)
  }
  return [...teams].map(([name, counters]) => ({ team: name, day, ...toDayTotals(counters) }))
}

async function readFields(redis: Redis, key: string, team?: string): Promise<[field: string, value: string][]> {
  if (team === undefined) return Object.entries(await redis.hgetall(key))
  const fields = DAY_COUNTERS.map(name => `${team}:${name}`)
  const values = await redis.hmget(key, ...fields)
  return fields.flatMap((field, index) => (values[index] ? [[field, values[index]] as [string, string]] : []))
}

async function scanMonths(connection: RedisConnection, prefix: string): Promise<string[]> {
  const months = new Set<string>()
  const pattern = `${prefix.replaceAll(/[\\*?[\]]/g, '\\$&')}*`
  let cursor = '0'
  do {
    const [next, found] = await connection.run(redis => redis.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_BATCH))
    for (const key of found) months.add(key.slice(prefix.length))
    cursor = next
  } while (cursor !== '0')
  return [...months].sort()
}

async function* scanEntries(connection: RedisConnection, key: string): AsyncGenerator<LedgerEntry[]> {
  for await (const calls of scanHash(connection, key)) yield calls.flatMap(([, value]) => decodeEntry(value) ?? [])
}

/** Scans a hash in pages. Redis returns a field twice only if the hash shrinks meanwhile. */
export async function* scanHash(
  connection: RedisConnection,
  key: string,
  count = SCAN_BATCH,
): AsyncGenerator<[field: string, value: string][]> {
  let cursor = '0'
  do {
    const [next, flat] = await connection.run(redis => redis.hscan(key, cursor, 'COUNT', count))
    yield Array.from({ length: flat.length / 2 }, (_, index) => [flat[2 * index] ?? '', flat[2 * index + 1] ?? ''])
    cursor = next
  } while (cursor !== '0')
}
