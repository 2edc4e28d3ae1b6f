import { LEDGER_COUNTERS } from '../totals.js'
import { IDENTITY, NO_WITNESS } from './ledger-identity.js'

/*
 * The ledger's steps. Each is one script, and so atomic.
 *
 *   KEYS[1]  calls of a day: a hash callId → `state:amount:JSON`. The state is reserved, charged,
 *            unknown, or released: the mark of a call whose reservation may still arrive and must
 *            book nothing
 *   KEYS[2]  totals of that day: a hash `team:counter` → integer, and `*` → the last step
 *   KEYS[3]  booked in that month: a hash team → integer, and `*` → the last step
 *   KEYS[4]  reserved calls of all days: a sorted set of `day/callId` by the time of reservation
 *   KEYS[5]  totals of the ledger: a hash of the counters of `LedgerTotals` and its identity
 *            (ledger-identity.ts); `reservedCalls` is the size of KEYS[4]
 *   KEYS[6]  unknown calls of all days: a sorted set of `day/callId` by the time they ended
 *   KEYS[7]  the last costs that Segmind reported, newest first: a list
 *   KEYS[8]  the balance: a hash of `remaining`, `at` and `since`
 *   KEYS[9]  checksums of the last steps (ledger-identity.ts)
 *   KEYS[10] marks of a day that was rolled up (roll-up.ts); KEYS[5] has the latest such day
 *
 * Lua counts in doubles, exact up to 2^53; `%.0f` writes them without an exponent. Amounts are
 * returned as text, because the client's parser rounds the largest integers.
 *
 * No step may fail half-way, because Redis does not undo what a script did before its error.
 * Amounts and times are therefore checked before they are sent, and subtracted as `0 - amount`:
 * `-amount` of 0 is written `-0`, which HINCRBY refuses.
 */

const COUNTER_NAMES = LEDGER_COUNTERS.map(name => `'${name}'`).join(', ')

/** The answer to a step of a missing call in a day that was rolled up. */
export const ROLLED_UP = 'rolled up'

export const BASE = `${IDENTITY}
local function booked(team)
  local amounts = redis.call('HMGET', KEYS[2], team .. ':charged', team .. ':unknown', team .. ':reserved')
  local day = tonumber(amounts[1] or 0) + tonumber(amounts[2] or 0) + tonumber(amounts[3] or 0)
  return day, tonumber(redis.call('HGET', KEYS[3], team) or 0)
end
local function addToDay(team, counter, amount)
  redis.call('HINCRBY', KEYS[2], team .. ':' .. counter, string.format('%.0f', amount))
end
local function addToMonth(team, amount)
  redis.call('HINCRBY', KEYS[3], team, string.format('%.0f', amount))
end
local function addToLedger(counter, amount)
  redis.call('HINCRBY', KEYS[5], counter, string.format('%.0f', amount))
end
-- Calls reserved by a version that kept no totals are missing in them. So the sum never goes below
-- 0, and is 0 as soon as no call is reserved.
local function reduceReserved(amount)
  local left = tonumber(redis.call('HGET', KEYS[5], 'reserved') or 0) - amount
  if left < 0 or redis.call('ZCARD', KEYS[4]) == 0 then left = 0 end
  redis.call('HSET', KEYS[5], 'reserved', string.format('%.0f', left))
end
local function totals()
  local known = redis.call('HMGET', KEYS[5], 'epoch', 'checksum', 'lost', ${COUNTER_NAMES})
  for i = 1, #known do known[i] = known[i] or (i < 4 and '' or '0') end
  known[#known + 1] = tostring(redis.call('ZCARD', KEYS[4]))
  return known
end
local function answer(result, day, month)
  return {result, string.format('%.0f', day), string.format('%.0f', month), totals()}
end
local function stateOf(value)
  if not value then return 'none', 0 end
  local state, amount = string.match(value, '^(%a+):(%d+):')
  return state, tonumber(amount)
end
-- Returns whether the calls of the day may have been removed, so that a missing one is no new one.
local function isRolledUp()
  local last = redis.call('HGET', KEYS[5], 'rolledUpTo')
  return last and DAY <= last
end
-- Books a reservation.
local function book(callId, team, estimate, at, member, value)
  redis.call('HSET', KEYS[1], callId, value)
  redis.call('ZADD', KEYS[4], at, member)
  addToDay(team, 'reservedCalls', 1)
  addToDay(team, 'reserved', estimate)
  addToMonth(team, estimate)
  addToLedger('reserved', estimate)
end
local COUNTERS = {reserved = 'reservedCalls', unknown = 'unknownCalls', charged = 'paidCalls'}
local function addToEnded(amount, calls, estimatedCalls)
  addToLedger('spent', amount)
  addToLedger('calls', calls)
  addToLedger('estimatedCalls', estimatedCalls)
end
local function takeOut(team, state, amount, member)
  addToDay(team, COUNTERS[state], -1)
  addToDay(team, state, 0 - amount)
  addToMonth(team, 0 - amount)
  if state == 'reserved' then
    redis.call('ZREM', KEYS[4], member)
    reduceReserved(amount)
  -- A call that ended under a version without totals is missing in them.
  elseif state == 'unknown' then
    if redis.call('ZREM', KEYS[6], member) == 1 then addToEnded(0 - amount, -1, -1) end
  elseif tonumber(redis.call('HGET', KEYS[5], 'estimatedCalls') or 0) > 0 then
    addToEnded(0 - amount, -1, -1)
  end
end
local function floorHolds(estimate, floor)
  local remaining = tonumber(redis.call('HGET', KEYS[8], 'remaining') or nil)
  if not floor or not remaining then return true end
  return remaining - tonumber(redis.call('HGET', KEYS[5], 'reserved') or 0) - estimate >= floor
end
`

/**
 * ARGV: callId, team, estimate, daily limit or '', monthly limit or '', value, at, member, floor or
 * '', new epoch, epoch, sequence and checksum of the witness. Returns the result, what both windows
 * have booked, and the totals.
 */
export const RESERVE = `${BASE}
local callId, team, estimate = ARGV[1], ARGV[2], tonumber(ARGV[3])
local daily, monthly = tonumber(ARGV[4]), tonumber(ARGV[5])
local day, month = booked(team)
local lost = isLost({ARGV[11], ARGV[12], ARGV[13]}, ARGV[10])
if redis.call('HEXISTS', KEYS[1], callId) == 1 then return answer('ok', day, month) end
if lost and (daily or monthly) then return answer('lost', day, month) end
if daily and day + estimate > daily then return answer('daily', day, month) end
if monthly and month + estimate > monthly then return answer('monthly', day, month) end
if not floorHolds(estimate, tonumber(ARGV[9])) then return answer('floor', day, month) end
book(callId, team, estimate, ARGV[7], ARGV[8], ARGV[6])
commit('reserve ' .. ARGV[8] .. ' ' .. ARGV[3], ARGV[10])
return answer('ok', day + estimate, month + estimate)
`

/** ARGV: callId, team, estimate, value, at, member, new epoch. */
export const NOTE = `${BASE}
local state, amount = stateOf(redis.call('HGET', KEYS[1], ARGV[1]))
if state ~= 'none' and state ~= 'reserved' then return 0 end
if state == 'none' and isRolledUp() then return '${ROLLED_UP}' end
-- Books the call again, since its estimate and time may have changed.
if state == 'reserved' then takeOut(ARGV[2], state, amount, ARGV[6]) end
book(ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[5], ARGV[6], ARGV[4])
isLost(${NO_WITNESS}, ARGV[7])
commit('note ' .. ARGV[6] .. ' ' .. ARGV[3], ARGV[7])
return 1
`

/**
 * ARGV: callId, team, outcome, cost, value, member, settledAt, '1' for an estimated cost or '0',
 * the number of costs to remember, a new epoch, and epoch, sequence and checksum of the witness.
 * Returns the totals. The step is booked in a lost ledger, too.
 */
export const SETTLE = `${BASE}
local callId, team, outcome, cost, member = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[6]
isLost({ARGV[11], ARGV[12], ARGV[13]}, ARGV[10])
local known = redis.call('HGET', KEYS[1], callId)
local state, amount = stateOf(known)
-- Within the JSON text of any other member, the quotation marks would be escaped.
local isCorrection = state == 'charged' and outcome == 'charged' and ARGV[8] == '0'
  and string.find(known, '"costSource":"estimate"', 1, true)
if state == 'charged' and not isCorrection then return totals() end
if state == 'none' and isRolledUp() then return '${ROLLED_UP}' end
if outcome == 'unknown' and (state == 'unknown' or state == 'released') then return totals() end
if state ~= 'none' and state ~= 'released' then takeOut(team, state, amount, member) end
redis.call('HSET', KEYS[1], callId, ARGV[5])
addToDay(team, COUNTERS[outcome], 1)
addToDay(team, outcome, cost)
addToMonth(team, cost)
addToEnded(cost, 1, tonumber(ARGV[8]))
if outcome == 'unknown' then
  redis.call('ZADD', KEYS[6], ARGV[7], member)
  if tonumber(ARGV[7]) > tonumber(redis.call('HGET', KEYS[5], 'unknownAt') or 0) then
    redis.call('HSET', KEYS[5], 'unknownAt', ARGV[7])
  end
elseif ARGV[8] == '0' then
  redis.call('LPUSH', KEYS[7], ARGV[4])
  redis.call('LTRIM', KEYS[7], 0, ARGV[9] - 1)
end
commit(outcome .. ' ' .. member .. ' ' .. ARGV[4], ARGV[10])
return totals()
`

/** ARGV: callId, team, member, the mark to leave, or '', and a new epoch. */
export const RELEASE = `${BASE}
local callId, team = ARGV[1], ARGV[2]
local state, amount = stateOf(redis.call('HGET', KEYS[1], callId))
if state == 'charged' or (state == 'none' and isRolledUp()) then return 0 end
local isOpen = state == 'reserved' or state == 'unknown'
if isOpen then
  takeOut(team, state, amount, ARGV[3])
  isLost(${NO_WITNESS}, ARGV[5])
  commit('release ' .. ARGV[3], ARGV[5])
end
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], callId, ARGV[4])
elseif state ~= 'released' then
  redis.call('HDEL', KEYS[1], callId)
end
return isOpen and 1 or 0
`

/** ARGV: team. */
export const READ_BOOKED = `${BASE}
local day, month = booked(ARGV[1])
return answer('ok', day, month)
`

/** ARGV: epoch, sequence and checksum of the witness, and a new epoch, or '' to mark nothing. */
export const READ_TOTALS = `${BASE}
local expected = {ARGV[1], ARGV[2], ARGV[3]}
if ARGV[4] ~= '' then isLost(expected, ARGV[4]) end
local found = totals()
if ARGV[4] == '' then found[3] = findLoss(expected) or '' end
return found
`

/** KEYS[1]: totals of a day. ARGV: team, then pairs of counter and amount. */
export const ADD_ACTIVITY = `
for i = 2, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[1] .. ':' .. ARGV[i], ARGV[i + 1])
end
return 1
`

/** KEYS[1]: the balance, a hash. ARGV: at, remaining, since, slack. */
export const RECORD_BALANCE = `
local known = redis.call('HMGET', KEYS[1], 'at', 'remaining', 'since')
local knownAt, knownRemaining = tonumber(known[1] or -1), tonumber(known[2] or 0)
local knownSince = tonumber(known[3] or knownAt)
local at, remaining, since, slack = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
-- A known time more than a minute ahead was written by a wrong clock and does not count.
local isCredible = knownAt <= at + 60000
local isOlder = isCredible and knownAt > at
local isOverlapping = isCredible and since < knownAt and knownSince < at
local isLower = isOverlapping and remaining < knownRemaining
if isOlder and not (isLower and knownRemaining - remaining <= slack) then return 0 end
if isOverlapping and not isLower and remaining - knownRemaining <= slack then remaining = knownRemaining end
redis.call('HSET', KEYS[1], 'remaining', string.format('%.0f', remaining))
if not isOlder then redis.call('HSET', KEYS[1], 'at', ARGV[1], 'since', ARGV[3]) end
return 1
`
