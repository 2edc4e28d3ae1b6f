import type { SharedUse } from '../../contracts/store.js'
import { checkAmounts } from '../totals.js'
import type { RedisConnection } from './connection.js'

/**
 * KEYS[1]: the teams that share a purchase, `boughtAt|payer,team,…`, expiring; KEYS[2]: totals of
 * the day. ARGV: boughtAt, payer, cost, team, seconds to live.
 * With n teams each bears floor(cost ÷ n), and the payer the rest. The transfers add up to 0.
 */
const SHARE = `
local boughtAt, payer, cost, team = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local known = redis.call('GET', KEYS[1])
local teams = {payer}
if known then
  local at, list = string.match(known, '^(%d+)|(.*)$')
  if tonumber(at) > tonumber(boughtAt) then return 0 end
  if at == boughtAt then
    teams = {}
    for name in string.gmatch(list, '[^,]+') do teams[#teams + 1] = name end
  end
end
for _, name in ipairs(teams) do
  if name == team then return 0 end
end
local function add(name, amount)
  redis.call('HINCRBY', KEYS[2], name .. ':shared', string.format('%.0f', amount))
end
local n = #teams
local old, new = math.floor(cost / n), math.floor(cost / (n + 1))
for i = 2, n do add(teams[i], new - old) end
add(team, new)
add(teams[1], (n - 1) * old - n * new)
teams[n + 1] = team
redis.call('SET', KEYS[1], boughtAt .. '|' .. table.concat(teams, ','), 'EX', ARGV[5])
return 1
`

export interface SharingKeys {
  totals(day: string): string
  share(resultId: string): string
}

/** Creates `LedgerStore.share` in Redis. */
export function createSharing(connection: RedisConnection, keys: SharingKeys): (use: SharedUse) => Promise<void> {
  const script = connection.script('ledgerShare', 2, SHARE)
  return async ({ resultId, boughtAt, payer, cost, team, day, ttlSeconds }) => {
    checkAmounts({ boughtAt, cost, ttlSeconds })
    await script(keys.share(resultId), keys.totals(day), boughtAt, payer, cost, team, Math.max(1, ttlSeconds))
  }
}
