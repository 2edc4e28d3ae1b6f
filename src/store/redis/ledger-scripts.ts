import { ACCOUNT_COUNTERS } from '../totals.js'

/*
 * The ledger's steps, each one atomic because it is one script.
 *
 *   KEYS[1]  calls of a day: a hash callId → `state:amount:JSON`, where state is reserved, charged, unknown, or released: the mark of a
 *            call whose reservation may still arrive and shall book nothing
 *   KEYS[2]  totals of that day: a hash `team:counter` → integer
 *   KEYS[3]  booked in that month: a hash team → integer
 *   KEYS[4]  calls still reserved, of all days: a sorted set of `day/callId` by the time they were reserved at
 *   KEYS[5]  the account: a hash of `AccountBook`'s counters; `reservedCalls` is the size of KEYS[4]
 *   KEYS[6]  calls that ended as unknown, of all days: a sorted set of `day/callId` by the time they ended at
 *   KEYS[7]  the last costs that were told, newest first: a list
 *   KEYS[8]  the balance: a hash of `remaining`, `at` and `since`
 *
 * Lua counts in doubles, exact up to 2^53; `%.0f` writes them without an exponent. Amounts
 * are answered as text, since the client's parser rounds the largest integers. Nothing here can fail half-way: Redis does not take
 * back what a script did before its error, so amounts and times are checked before they are sent, and taken away as `0 - amount`:
 * `-amount` of 0 is written `-0`, which HINCRBY refuses.
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
local function tally(counter, amount)
  redis.call('HINCRBY', KEYS[5], counter, string.format('%.0f', amount))
end
-- What was reserved before the account was kept is not in it: less than nothing is nothing, and nothing is left of it once no call is.
local function reserveLess(amount)
  local left = tonumber(redis.call('HGET', KEYS[5], 'reserved') or 0) - amount
  if left < 0 or redis.call('ZCARD', KEYS[4]) == 0 then left = 0 end
  redis.call('HSET', KEYS[5], 'reserved', string.format('%.0f', left))
end
local function account()
  local of = redis.call('HMGET', KEYS[5], ${ACCOUNT_COUNTERS.map(name => `'${name}'`).join(', ')})
  local told = {}
  for i = 1, #of do told[i] = of[i] or '0' end
  told[#told + 1] = tostring(redis.call('ZCARD', KEYS[4]))
  return told
end
local function answer(what, day, month)
  return {what, string.format('%.0f', day), string.format('%.0f', month), account()}
end
local function stateOf(value)
  if not value then return 'none', 0 end
  local state, amount = string.match(value, '^(%a+):(%d+):')
  return state, tonumber(amount)
end
local function book(callId, team, estimate, at, member, value)
  redis.call('HSET', KEYS[1], callId, value)
  redis.call('ZADD', KEYS[4], at, member)
  add(team, 'reservedCalls', 1)
  add(team, 'reserved', estimate)
  addToMonth(team, estimate)
  tally('reserved', estimate)
end
local COUNTERS = {reserved = 'reservedCalls', unknown = 'unknownCalls', charged = 'paidCalls'}
local function takeOut(team, state, amount, member)
  add(team, COUNTERS[state], -1)
  add(team, state, 0 - amount)
  addToMonth(team, 0 - amount)
  if state == 'reserved' then
    redis.call('ZREM', KEYS[4], member)
    reserveLess(amount)
  -- One that became unknown before the account was kept is not in it.
  elseif redis.call('ZREM', KEYS[6], member) == 1 then
    tally('spent', 0 - amount)
    tally('calls', -1)
    tally('estimatedCalls', -1)
  end
end
local function floorHolds(estimate, floor)
  local remaining = tonumber(redis.call('HGET', KEYS[8], 'remaining') or nil)
  if not floor or not remaining then return true end
  return remaining - tonumber(redis.call('HGET', KEYS[5], 'reserved') or 0) - estimate >= floor
end
`

/** ARGV: callId, team, estimate, daily limit or '', monthly limit or '', value, at, member, floor or ''. Answers what happened, both windows, the account. */
export const RESERVE = `${BOOKED}
local callId, team, estimate = ARGV[1], ARGV[2], tonumber(ARGV[3])
local daily, monthly = tonumber(ARGV[4]), tonumber(ARGV[5])
local day, month = booked(team)
if redis.call('HEXISTS', KEYS[1], callId) == 1 then return answer('ok', day, month) end
if daily and day + estimate > daily then return answer('daily', day, month) end
if monthly and month + estimate > monthly then return answer('monthly', day, month) end
if not floorHolds(estimate, tonumber(ARGV[9])) then return answer('floor', day, month) end
tally('sequence', 1)
book(callId, team, estimate, ARGV[7], ARGV[8], ARGV[6])
return answer('ok', day + estimate, month + estimate)
`

/** ARGV: callId, team, estimate, value, at, member. */
export const NOTE = `${BOOKED}
local state, amount = stateOf(redis.call('HGET', KEYS[1], ARGV[1]))
if state ~= 'none' and state ~= 'reserved' then return 0 end
tally('sequence', 1)
-- Booked anew, since the estimate and the time may be others now.
if state == 'reserved' then takeOut(ARGV[2], state, amount, ARGV[6]) end
book(ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[5], ARGV[6], ARGV[4])
return 1
`

/** ARGV: callId, team, outcome, cost, value, member, settledAt, whether the cost is an estimate ('1' or '0'), how many costs are remembered. Answers the account. */
export const SETTLE = `${BOOKED}
local callId, team, outcome, cost, member = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[6]
local state, amount = stateOf(redis.call('HGET', KEYS[1], callId))
if state == 'charged' or (outcome == 'unknown' and (state == 'unknown' or state == 'released')) then return account() end
tally('sequence', 1)
if state == 'reserved' or state == 'unknown' then takeOut(team, state, amount, member) end
redis.call('HSET', KEYS[1], callId, ARGV[5])
add(team, COUNTERS[outcome], 1)
add(team, outcome, cost)
addToMonth(team, cost)
tally('spent', cost)
tally('calls', 1)
if ARGV[8] == '1' then tally('estimatedCalls', 1) end
if outcome == 'unknown' then
  redis.call('ZADD', KEYS[6], ARGV[7], member)
  if tonumber(ARGV[7]) > tonumber(redis.call('HGET', KEYS[5], 'unknownAt') or 0) then
    redis.call('HSET', KEYS[5], 'unknownAt', ARGV[7])
  end
elseif ARGV[8] == '0' then
  redis.call('LPUSH', KEYS[7], ARGV[4])
  redis.call('LTRIM', KEYS[7], 0, ARGV[9] - 1)
end
return account()
`

/** ARGV: callId, team, member, the mark to leave, or ''. */
export const RELEASE = `${BOOKED}
local callId, team = ARGV[1], ARGV[2]
local state, amount = stateOf(redis.call('HGET', KEYS[1], callId))
if state == 'charged' then return 0 end
if state == 'reserved' or state == 'unknown' then
  tally('sequence', 1)
  takeOut(team, state, amount, ARGV[3])
end
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], callId, ARGV[4])
elseif state ~= 'released' then
  redis.call('HDEL', KEYS[1], callId)
end
return 1
`

/** ARGV: team. KEYS as above. */
export const READ_BOOKED = `${BOOKED}
local day, month = booked(ARGV[1])
return answer('ok', day, month)
`

/** KEYS as above. */
export const READ_ACCOUNT = `${BOOKED}
return account()
`

/** KEYS[1] totals of a day. ARGV: team, then pairs of counter and amount. */
export const ADD_ACTIVITY = `
for i = 2, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[1] .. ':' .. ARGV[i], ARGV[i + 1])
end
return 1
`

/** KEYS[1] the balance, a hash. ARGV: at, remaining, since, slack. */
export const RECORD_BALANCE = `
local known = redis.call('HMGET', KEYS[1], 'at', 'remaining', 'since')
local knownAt, knownRemaining = tonumber(known[1] or -1), tonumber(known[2] or 0)
local knownSince = tonumber(known[3] or knownAt)
local at, remaining, since, slack = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
-- More than a minute ahead: written by a clock that was wrong.
local isBelieved = knownAt <= at + 60000
local isOlder = isBelieved and knownAt > at
local isOverlapping = isBelieved and since < knownAt and knownSince < at
local isLower = isOverlapping and remaining < knownRemaining
if isOlder and not (isLower and knownRemaining - remaining <= slack) then return 0 end
if isOverlapping and not isLower and remaining - knownRemaining <= slack then remaining = knownRemaining end
redis.call('HSET', KEYS[1], 'remaining', string.format('%.0f', remaining))
if not isOlder then redis.call('HSET', KEYS[1], 'at', ARGV[1], 'since', ARGV[3]) end
return 1
`
