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
 * A step reads a hash once and writes it once, because each command costs as much as the rest of a
 * step. No step may fail half-way, because Redis does not undo what a script did before its error.
 * Amounts and times are therefore checked before they are sent.
 */

const COUNTER_NAMES = LEDGER_COUNTERS.map(name => `'${name}'`).join(', ')

/** The answer to a step of a missing call in a day that was rolled up. */
export const ROLLED_UP = 'rolled up'

export const BASE = `${IDENTITY}
-- Reads the identity and the counters of the ledger, and those of the windows and a team.
local function open(team)
  load(KEYS[5], 'lost', 'epoch', 'checksum', 'past', 'rolledUpTo', ${COUNTER_NAMES}, DAY, MONTH)
  if not team then return end
  load(KEYS[3], '*', team)
  load(KEYS[2], '*', team .. ':charged', team .. ':unknown', team .. ':reserved',
    team .. ':paidCalls', team .. ':unknownCalls', team .. ':reservedCalls')
end
local function booked(team)
  local function amount(state) return tonumber(get(KEYS[2], team .. ':' .. state) or 0) end
  return amount('charged') + amount('unknown') + amount('reserved'), tonumber(get(KEYS[3], team) or 0)
end
-- Calls reserved by a version that kept no totals are missing in them. So the sum never goes below
-- 0, and is 0 as soon as no call is reserved.
local function reduceReserved(amount, calls)
  local left = tonumber(get(KEYS[5], 'reserved') or 0) - amount
  if left < 0 or calls == 0 then left = 0 end
  set(KEYS[5], 'reserved', string.format('%.0f', left))
end
-- Writes the changes, and returns the totals. calls: the reserved calls, if they are counted.
local function finish(calls)
  save()
  local totals = {}
  for i, field in ipairs({'epoch', 'checksum', 'lost', ${COUNTER_NAMES}}) do
    totals[i] = get(KEYS[5], field) or (i < 4 and '' or '0')
  end
  totals[#totals + 1] = tostring(calls or redis.call('ZCARD', KEYS[4]))
  return totals
end
local function answer(result, day, month)
  return {result, string.format('%.0f', day), string.format('%.0f', month), finish()}
end
local function stateOf(value)
  if not value then return 'none', 0 end
  local state, amount = string.match(value, '^(%a+):(%d+):')
  return state, tonumber(amount)
end
-- Returns whether the calls of the day may have been removed, so that a missing one is no new one.
local function isRolledUp()
  local last = get(KEYS[5], 'rolledUpTo')
  return last and DAY <= last
end
-- Books a reservation.
local function book(team, estimate, at, member)
  redis.call('ZADD', KEYS[4], at, member)
  add(KEYS[2], team .. ':reservedCalls', 1)
  add(KEYS[2], team .. ':reserved', estimate)
  add(KEYS[3], team, estimate)
  add(KEYS[5], 'reserved', estimate)
end
local COUNTERS = {reserved = 'reservedCalls', unknown = 'unknownCalls', charged = 'paidCalls'}
local function addToEnded(amount, calls, estimatedCalls)
  add(KEYS[5], 'spent', amount)
  add(KEYS[5], 'calls', calls)
  add(KEYS[5], 'estimatedCalls', estimatedCalls)
end
-- Takes a call out of all sums. Returns the reserved calls that are left, if they are counted.
local function takeOut(team, state, amount, member)
  add(KEYS[2], team .. ':' .. COUNTERS[state], -1)
  add(KEYS[2], team .. ':' .. state, 0 - amount)
  add(KEYS[3], team, 0 - amount)
  if state == 'reserved' then
    redis.call('ZREM', KEYS[4], member)
    local calls = redis.call('ZCARD', KEYS[4])
    reduceReserved(amount, calls)
    return calls
  -- A call that ended under a version without totals is missing in them.
  elseif state == 'unknown' then
    if redis.call('ZREM', KEYS[6], member) == 1 then addToEnded(0 - amount, -1, -1) end
  elseif tonumber(get(KEYS[5], 'estimatedCalls') or 0) > 0 then
    addToEnded(0 - amount, -1, -1)
  end
end
local function floorHolds(estimate, floor)
  local remaining = floor and tonumber(redis.call('HGET', KEYS[8], 'remaining') or nil)
  return not remaining or remaining - tonumber(get(KEYS[5], 'reserved') or 0) - estimate >= floor
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
open(team)
local day, month = booked(team)
local refusal
if isLost({ARGV[11], ARGV[12], ARGV[13]}, ARGV[10]) and (daily or monthly) then refusal = 'lost'
elseif daily and day + estimate > daily then refusal = 'daily'
elseif monthly and month + estimate > monthly then refusal = 'monthly'
elseif not floorHolds(estimate, tonumber(ARGV[9])) then refusal = 'floor' end
-- A call that is booked already is not refused, and not booked again.
if refusal and redis.call('HEXISTS', KEYS[1], callId) == 0 then return answer(refusal, day, month) end
if refusal or redis.call('HSETNX', KEYS[1], callId, ARGV[6]) == 0 then return answer('ok', day, month) end
book(team, estimate, ARGV[7], ARGV[8])
commit('reserve ' .. ARGV[8] .. ' ' .. ARGV[3], ARGV[10])
return answer('ok', day + estimate, month + estimate)
`

/** ARGV: callId, team, estimate, value, at, member, new epoch. */
export const NOTE = `${BASE}
local state, amount = stateOf(redis.call('HGET', KEYS[1], ARGV[1]))
if state ~= 'none' and state ~= 'reserved' then return 0 end
open(ARGV[2])
if state == 'none' and isRolledUp() then return '${ROLLED_UP}' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
-- Books the call again, since its estimate and time may have changed.
if state == 'reserved' then takeOut(ARGV[2], state, amount, ARGV[6]) end
book(ARGV[2], tonumber(ARGV[3]), ARGV[5], ARGV[6])
isLost(${NO_WITNESS}, ARGV[7])
commit('note ' .. ARGV[6] .. ' ' .. ARGV[3], ARGV[7])
save()
return 1
`

/**
 * ARGV: callId, team, outcome, cost, value, member, settledAt, '1' for an estimated cost or '0',
 * the number of costs to remember, a new epoch, and epoch, sequence and checksum of the witness.
 * Returns the totals. The step is booked in a lost ledger, too.
 */
export const SETTLE = `${BASE}
local callId, team, outcome, cost, member = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[6]
open(team)
isLost({ARGV[11], ARGV[12], ARGV[13]}, ARGV[10])
local value = redis.call('HGET', KEYS[1], callId)
local state, amount = stateOf(value)
-- Within the JSON text of any other member, the quotation marks would be escaped.
local isCorrection = state == 'charged' and outcome == 'charged' and ARGV[8] == '0'
  and string.find(value, '"costSource":"estimate"', 1, true)
if state == 'charged' and not isCorrection then return finish() end
if state == 'none' and isRolledUp() then
  save()
  return '${ROLLED_UP}'
end
if outcome == 'unknown' and (state == 'unknown' or state == 'released') then return finish() end
redis.call('HSET', KEYS[1], callId, ARGV[5])
local reservedCalls
if state ~= 'none' and state ~= 'released' then reservedCalls = takeOut(team, state, amount, member) end
add(KEYS[2], team .. ':' .. COUNTERS[outcome], 1)
add(KEYS[2], team .. ':' .. outcome, cost)
add(KEYS[3], team, cost)
addToEnded(cost, 1, tonumber(ARGV[8]))
if outcome == 'unknown' then
  redis.call('ZADD', KEYS[6], ARGV[7], member)
  if tonumber(ARGV[7]) > tonumber(get(KEYS[5], 'unknownAt') or 0) then set(KEYS[5], 'unknownAt', ARGV[7]) end
-- Removes old costs seldom: reads take only the latest.
elseif ARGV[8] == '0' and redis.call('LPUSH', KEYS[7], ARGV[4]) >= 2 * ARGV[9] then
  redis.call('LTRIM', KEYS[7], 0, ARGV[9] - 1)
end
commit(outcome .. ' ' .. member .. ' ' .. ARGV[4], ARGV[10])
return finish(reservedCalls)
`

/** ARGV: callId, team, member, the mark to leave, or '', and a new epoch. */
export const RELEASE = `${BASE}
local callId, team = ARGV[1], ARGV[2]
local state, amount = stateOf(redis.call('HGET', KEYS[1], callId))
if state == 'charged' or (state == 'none' and isRolledUp()) then return 0 end
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], callId, ARGV[4])
elseif state ~= 'released' then
  redis.call('HDEL', KEYS[1], callId)
end
if state ~= 'reserved' and state ~= 'unknown' then return 0 end
open(team)
takeOut(team, state, amount, ARGV[3])
isLost(${NO_WITNESS}, ARGV[5])
commit('release ' .. ARGV[3], ARGV[5])
save()
return 1
`

/** ARGV: team. */
export const READ_BOOKED = `${BASE}
open(ARGV[1])
local day, month = booked(ARGV[1])
return answer('ok', day, month)
`

/** ARGV: epoch, sequence and checksum of the witness, and a new epoch, or '' to mark nothing. */
export const READ_TOTALS = `${BASE}
open()
local expected = {ARGV[1], ARGV[2], ARGV[3]}
if ARGV[4] ~= '' then isLost(expected, ARGV[4]) end
local found = finish()
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
