import { PACER } from '../schedule/pacer.js'

/*
 * The schedule of an account, as in `../schedule/step.ts` and `../schedule/pacer.ts`, function by
 * function. It is one JSON text under one key, which expires.
 *
 *   KEYS[1]  the schedule
 *   ARGV     the change and the limits as JSON, the channel of notices, and the seconds to keep it
 *
 * cjson writes numbers with 14 digits: all numbers are integers, and times have 13.
 */

const CONSTANTS = Object.entries(PACER)
  .map(([name, value]) => `local ${name} = ${value}`)
  .join('\n')

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

const PACING = `
${CONSTANTS}

local function limitOf(pacer)
  local recoveredMs = math.max(0, now - math.max(pacer.cutAt, pacer.pausedUntil))
  local grown = math.floor(((pacer.ceiling - pacer.base) * recoveredMs) / RECOVERY_MS)
  return math.min(pacer.ceiling, pacer.base + grown)
end

local function paceOf(pacer, perMinute)
  local rate = pacer.cutAt > 0 and limitOf(pacer) or perMinute
  return rate > 0 and math.ceil(MINUTE_MS / rate) or 0, pacer.cutAt > 0 and 1 or BURST
end

local function refreshPacer(pacer, perMinute)
  pacer.pausedUntil = math.min(pacer.pausedUntil, now + MAX_REQUESTED_MS)
  pacer.cutAt = math.min(pacer.cutAt, now)
  if pacer.cutAt > 0 and limitOf(pacer) >= pacer.ceiling then
    pacer.cutAt = 0
    pacer.strikes = 0
  end
  local intervalMs = paceOf(pacer, perMinute)
  pacer.tat = math.min(pacer.tat, now + BURST * intervalMs)
  local countedMs = now - pacer.countedFrom
  if countedMs >= 0 and countedMs < MINUTE_MS then return end
  pacer.before = (countedMs >= 0 and countedMs < 2 * MINUTE_MS) and pacer.counted or 0
  pacer.counted = 0
  pacer.countedFrom = now
end

local function measuredRate(pacer)
  local measured = math.floor((pacer.counted * MINUTE_MS) / math.max(MEASURE_MS, now - pacer.countedFrom))
  return math.max(LEAST_MEASURED, pacer.before, measured)
end

local function throttle(pacer, perMinute, waitMs)
  local ownMs = math.min(FIRST_PAUSE_MS * 2 ^ pacer.strikes, MAX_PAUSE_MS)
  local pauseMs = waitMs and math.min(waitMs, MAX_REQUESTED_MS) or ownMs
  local limit = perMinute
  if pacer.cutAt > 0 then limit = limitOf(pacer) elseif perMinute == 0 then limit = measuredRate(pacer) end
  pacer.pausedUntil = math.max(pacer.pausedUntil, now + pauseMs)
  if pacer.cutAt > 0 and now - pacer.cutAt < CUT_WINDOW_MS then return end
  pacer.base = math.max(1, math.floor(limit / 2))
  pacer.ceiling = perMinute > 0 and perMinute or math.max(2 * limit, pacer.base + 1)
  pacer.cutAt = now
  pacer.strikes = math.min(pacer.strikes + 1, MAX_STRIKES)
end

local function isPaced(pacer, perMinute)
  local intervalMs, burst = paceOf(pacer, perMinute)
  if pacer.pausedUntil > now then return true end
  return intervalMs > 0 and math.max(pacer.tat, now) + (1 - burst) * intervalMs > now
end

local function countCall(pacer, perMinute)
  local intervalMs = paceOf(pacer, perMinute)
  pacer.tat = math.max(pacer.tat, now) + intervalMs
  pacer.counted = pacer.counted + 1
end
`

const CHOICE = `
local function keep(isKept)
  local kept = {}
  for _, entry in ipairs(state.entries) do
    if isKept(entry) then kept[#kept + 1] = entry end
  end
  state.entries = kept
end

local function removeIdleTeams()
  local active = {}
  for _, entry in ipairs(state.entries) do
    if entry.state ~= 'dropped' then active[entry.team] = true end
  end
  for team in pairs(state.teams) do
    if not active[team] then state.teams[team] = nil end
  end
end

local function expireProcesses(process, ttlMs)
  state.processes[process] = now + ttlMs
  local expired = {}
  for name, expiresAt in pairs(state.processes) do
    state.processes[name] = math.min(expiresAt, now + ttlMs)
    if expiresAt <= now then expired[name] = true end
  end
  if next(expired) then
    for name in pairs(expired) do state.processes[name] = nil end
    keep(function(entry) return not expired[entry.by] end)
    removeIdleTeams()
  end
end

local function removeEntry(by, id, usedMs)
  keep(function(entry) return entry.by ~= by or entry.id ~= id end)
  if not usedMs then return end
  if state.meanUseMs < 0 then state.meanUseMs = usedMs
  else state.meanUseMs = state.meanUseMs + math.floor((usedMs - state.meanUseMs) / 8) end
end

local function addEntry(by, new)
  for _, entry in ipairs(state.entries) do
    if entry.by == by and entry.id == new.id then
      if new.isRunning then entry.state = 'running' end
      return
    end
  end
  local team = state.teams[new.team]
  if not team then
    local least
    for _, other in pairs(state.teams) do
      if not least or other.served < least then least = other.served end
    end
    state.sequence = state.sequence + 1
    team = {served = least or 0, since = state.sequence}
    state.teams[new.team] = team
  end
  team.cost = new.cost
  team.concurrent = new.concurrent or -1
  local entry = {id = new.id, by = by, team = new.team, rank = new.rank}
  entry.state = new.isRunning and 'running' or 'waiting'
  state.entries[#state.entries + 1] = entry
end

local function nextToGrant(limits)
  local running, all, heads = {}, 0, {}
  for _, entry in ipairs(state.entries) do
    if entry.state == 'running' then
      running[entry.team] = (running[entry.team] or 0) + 1
      all = all + 1
    elseif entry.state == 'waiting' then
      local head = heads[entry.team]
      if not head or entry.rank < head.rank then heads[entry.team] = entry end
    end
  end
  if all >= limits.slots or isPaced(state.pacer, limits.perMinute) then return nil end
  local best, ofBest
  for name, head in pairs(heads) do
    local team = state.teams[name]
    local isFree = team.concurrent < 0 or (running[name] or 0) < team.concurrent
    if isFree and (not best or team.served < ofBest.served
      or (team.served == ofBest.served and team.since > ofBest.since)) then
      best, ofBest = head, team
    end
  end
  return best
end

local function countWaiting()
  local waiting = 0
  for _, entry in ipairs(state.entries) do
    if entry.state == 'waiting' then waiting = waiting + 1 end
  end
  return waiting
end

local function nextToDrop()
  local load = {}
  for _, entry in ipairs(state.entries) do
    if entry.state == 'waiting' then
      load[entry.team] = (load[entry.team] or 0) + state.teams[entry.team].cost
    end
  end
  local largest, victim
  for _, entry in ipairs(state.entries) do
    if entry.state == 'waiting' and (not largest or load[entry.team] >= load[largest]) then largest = entry.team end
  end
  for _, entry in ipairs(state.entries) do
    local isOfLargest = entry.state == 'waiting' and entry.team == largest
    if isOfLargest and (not victim or entry.rank >= victim.rank) then victim = entry end
  end
  return victim
end
`

/**
 * Applies a change, grants slots and drops what the queue cannot hold. Returns the time, the
 * schedule as JSON, and the own entries that were dropped.
 */
export const STEP = `${NOW}
local change, limits = cjson.decode(ARGV[1]), cjson.decode(ARGV[2])
local stored = redis.call('GET', KEYS[1])
local state = stored and cjson.decode(stored) or {
  sequence = 0, entries = {}, teams = {}, processes = {}, meanUseMs = -1,
  pacer = {tat = 0, pausedUntil = 0, cutAt = 0, base = 0, ceiling = 0, strikes = 0,
    counted = 0, countedFrom = 0, before = 0}
}
${PACING}
${CHOICE}
local process, perMinute, notify = change.process, limits.perMinute, {}
refreshPacer(state.pacer, perMinute)
expireProcesses(process, limits.ttlMs)
for _, left in ipairs(change.leave) do removeEntry(process, left.id, left.usedMs) end
if change.throttled then throttle(state.pacer, perMinute, change.throttled.waitMs) end
for _, entry in ipairs(change.enter) do addEntry(process, entry) end
local granted = nextToGrant(limits)
while granted do
  granted.state = 'running'
  local team = state.teams[granted.team]
  team.served = team.served + team.cost
  countCall(state.pacer, perMinute)
  notify[granted.by] = true
  granted = nextToGrant(limits)
end
for _ = 1, countWaiting() - limits.maxWaiting do
  local victim = nextToDrop()
  victim.state = 'dropped'
  notify[victim.by] = true
end
local dropped = {}
keep(function(entry)
  local isOwnDrop = entry.by == process and entry.state == 'dropped'
  if isOwnDrop then dropped[#dropped + 1] = entry.id end
  return not isOwnDrop
end)
removeIdleTeams()
local text = cjson.encode(state)
redis.call('SET', KEYS[1], text, 'EX', ARGV[4])
notify[process] = nil
-- Processes also step with every heartbeat, so a user who may not publish only delays them.
for name in pairs(notify) do redis.pcall('PUBLISH', ARGV[3], 'schedule:' .. name) end
return {now, text, dropped}
`

/** Returns the time and the schedule. */
export const READ = `${NOW}
return {now, redis.call('GET', KEYS[1])}
`
