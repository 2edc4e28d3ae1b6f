import type { LedgerBooks, RolledUpCalls } from '../../contracts/store.js'
import { NO_MARK, ROLL_UP_BATCH, sealOf } from '../roll-up.js'
import type { RedisConnection } from './connection.js'
import { type LedgerKeys, RELEASED, scriptKeys } from './ledger-keys.js'
import { scanHash } from './ledger-reads.js'
import { BASE } from './ledger-scripts.js'

/**
 * KEYS[10]: a hash team → `calls:charged:digest:seal` (store/roll-up.ts). ARGV: call ids. Returns the
 * number of charged calls removed. Counts as no step: every sum stays as it is.
 */
const ROLL_UP = `${BASE}
local function xor(one, other)
  local words = {}
  for at = 1, 40, 8 do
    local word = tonumber(string.sub(one, at, at + 7), 16)
    words[#words + 1] = bit.tohex(bit.bxor(word, tonumber(string.sub(other, at, at + 7), 16)))
  end
  return table.concat(words)
end
local function markOf(team)
  local calls, charged, digest = string.match(redis.call('HGET', KEYS[10], team) or '', '^(%d+):(%d+):(%x+)')
  return {calls = tonumber(calls or 0), charged = tonumber(charged or 0), digest = digest or '${NO_MARK.digest}'}
end
if not isRolledUp() then redis.call('HSET', KEYS[5], 'rolledUpTo', DAY) end
local marks, count = {}, 0
for i, value in ipairs(#ARGV > 0 and redis.call('HMGET', KEYS[1], unpack(ARGV)) or {}) do
  local state, amount = stateOf(value)
  if state == 'charged' then
    local team = cjson.decode(string.match(value, '{.*')).team
    local mark = marks[team] or markOf(team)
    mark.calls, mark.charged = mark.calls + 1, mark.charged + amount
    mark.digest = xor(mark.digest, redis.sha1hex(ARGV[i] .. ' ' .. string.format('%.0f', amount)))
    marks[team], count = mark, count + 1
  end
  if state == 'charged' or state == 'released' then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
for team, mark in pairs(marks) do
  local figures = {string.format('%.0f', mark.calls), string.format('%.0f', mark.charged), mark.digest}
  local seal = redis.sha1hex(DAY .. ' ' .. team .. ' ' .. table.concat(figures, ' '))
  redis.call('HSET', KEYS[10], team, table.concat(figures, ':') .. ':' .. seal)
end
return count
`

/** Creates the roll-up of the ledger. */
export function createRollUp(
  connection: RedisConnection,
  keys: LedgerKeys,
): Pick<LedgerBooks, 'rollUp' | 'rolledUp' | 'rolledUpTo'> {
  const script = connection.script('ledgerRollUp', 10, ROLL_UP)
  return {
    async *rollUp(day, limit = ROLL_UP_BATCH) {
      const all = [...scriptKeys(keys, { day, month: day.slice(0, 7) }), keys.rolledUp(day)]
      // Closes the day to new entries, also if it has nothing to remove.
      await script(...all)
      for await (const calls of scanHash(connection, keys.calls(day), limit)) {
        const ids = calls.filter(([, value]) => value === RELEASED || value.startsWith('charged:')).map(([id]) => id)
        // A small hash is returned whole.
        for (let from = 0; from < ids.length; from += limit)
          yield Number(await script(...all, ...ids.slice(from, from + limit)))
      }
    },
    async rolledUp(day) {
      const marks = await connection.run(redis => redis.hgetall(keys.rolledUp(day)))
      const teams = Object.keys(marks).sort()
      return teams.map(team => decodeMark(day, team, marks[team] ?? ''))
    },
    rolledUpTo: async () => (await connection.run(redis => redis.hget(keys.account, 'rolledUpTo'))) ?? '',
  }
}

function decodeMark(day: string, team: string, text: string): RolledUpCalls {
  const [calls = '', charged = '', digest = '', seal = ''] = text.split(':')
  const mark = { calls: Number(calls), charged: Number(charged), digest }
  return { team, ...mark, isIntact: seal === sealOf(day, team, mark) }
}
