/*
 * The ledger's steps, each one atomic because it is one script.
 *
 *   KEYS[1]  calls of a day: a hash callId → `state:amount:JSON`, where state is reserved, charged or unknown
 *   KEYS[2]  totals of that day: a hash `team:counter` → integer
 *   KEYS[3]  booked in that month: a hash team → integer
 *
 * Lua counts in doubles, exact up to 2^53; `%.0f` writes them without an exponent. Amounts
 * are answered as text, since the client's parser rounds the largest integers. Nothing here can fail half-way: Redis does not take
 * back what a script did before its error, so amounts are checked before they are sent.
 */

const BOOKED = `
local function booked(team)
  local of = redis.call('HMGET', KEYS[2], team .. ':charged', team .. ':unknown', team .. ':reserved')
  local day = tonumber(of[1] or 0) + tonumber(of[2] or 0) + tonumber(of[3] or 0)
  return day, tonumber(redis.call('HGET', KEYS[3], team) or 0)
end
local function add(team, counter, amount)
  redis.call('HINCRBY', KEYS[2], team .. ':' .. counter, string.format('%.0f', amount))
end
local function addToMonth(team, amount)
  redis.call('HINCRBY', KEYS[3], team, string.format('%.0f', amount))
end
local function answer(what, day, month)
  return {what, string.format('%.0f', day), string.format('%.0f', month)}
end
local function reservedAmount(value)
  return value and tonumber(string.match(value, '^reserved:(%d+):'))
end
`

/** ARGV: callId, team, estimate, daily limit or '', monthly limit or '', value. Answers what happened and both windows. */
export const RESERVE = `${BOOKED}
local callId, team, estimate = ARGV[1], ARGV[2], tonumber(ARGV[3])
local daily, monthly = tonumber(ARGV[4]), tonumber(ARGV[5])
local day, month = booked(team)
if redis.call('HEXISTS', KEYS[1], callId) == 1 then return answer('ok', day, month) end
if daily and day + estimate > daily then return answer('daily', day, month) end
if monthly and month + estimate > monthly then return answer('monthly', day, month) end
redis.call('HSET', KEYS[1], callId, ARGV[6])
add(team, 'reservedCalls', 1)
add(team, 'reserved', estimate)
addToMonth(team, estimate)
return answer('ok', day + estimate, month + estimate)
`

/** ARGV: callId, team, the counter of calls, the counter of the amount, cost, value. */
export const SETTLE = `${BOOKED}
local callId, team, cost = ARGV[1], ARGV[2], tonumber(ARGV[5])
local held = 0
local old = redis.call('HGET', KEYS[1], callId)
if old then
  held = reservedAmount(old)
  if not held then return 0 end
  add(team, 'reservedCalls', -1)
  add(team, 'reserved', -held)
end
redis.call('HSET', KEYS[1], callId, ARGV[6])
add(team, ARGV[3], 1)
add(team, ARGV[4], cost)
addToMonth(team, cost - held)
return 1
`

/** ARGV: callId, team. */
export const RELEASE = `${BOOKED}
local callId, team = ARGV[1], ARGV[2]
local held = reservedAmount(redis.call('HGET', KEYS[1], callId))
if not held then return 0 end
redis.call('HDEL', KEYS[1], callId)
add(team, 'reservedCalls', -1)
add(team, 'reserved', -held)
addToMonth(team, -held)
return 1
`

/** ARGV: team. KEYS as above. */
export const READ_BOOKED = `${BOOKED}
local day, month = booked(ARGV[1])
return answer('ok', day, month)
`

/** KEYS[1] totals of a day. ARGV: team, then pairs of counter and amount. */
export const ADD_ACTIVITY = `
for i = 2, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[1] .. ':' .. ARGV[i], ARGV[i + 1])
end
return 1
`

/** KEYS[1] the balance, a hash. ARGV: at, remaining. */
export const RECORD_BALANCE = `
local known = tonumber(redis.call('HGET', KEYS[1], 'at') or -1)
local new = tonumber(ARGV[1])
-- More than a minute ahead: written by a clock that was wrong.
if known > new and known <= new + 60000 then return 0 end
redis.call('HSET', KEYS[1], 'at', ARGV[1], 'remaining', ARGV[2])
return 1
`
