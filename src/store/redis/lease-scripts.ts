/*
 * The steps of a lease. Each is one script, and so atomic.
 *
 *   KEYS[1]  the lease of a name: a hash of token, beat (the heartbeat counter), note and, once
 *            released, parting (the outcome). It expires.
 *   KEYS[2]  the time since which this Redis has kept leases, in milliseconds of its own clock. It
 *            never expires. A Redis without this key is new or has lost its data, and with it leases
 *            that are still held: it grants none until their holders had time to renew them. 0 once
 *            that time is over, which saves reading the clock.
 */

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/**
 * Computes the rest of the recovery time. A start time in the future comes from a clock that was
 * set back or from another primary. It is reset to now: otherwise all callers would wait until this
 * clock catches up.
 */
const RECOVERY = `
local function recoveryLeftMs(sinceKey, known, recoveryMs)
  if known == '0' then return 0 end
  ${NOW}
  local since = tonumber(known or now + 1)
  if since > now then
    since = now
    redis.call('SET', sinceKey, string.format('%.0f', now))
  end
  return since + recoveryMs - now
end
`

/**
 * The deletion comes first, because a full Redis refuses the first write of a script unless it is
 * one that needs no memory.
 */
const TAKE = `
local function take(key, token, beat, note, ttlMs)
  redis.call('DEL', key)
  redis.call('HSET', key, 'token', token, 'beat', beat, 'note', note)
  redis.call('PEXPIRE', key, ttlMs)
end
`

/** Starts the recovery time of a Redis that has none. KEYS[1]: the start time. */
export const START = `${NOW}
redis.call('SET', KEYS[1], string.format('%.0f', now), 'NX')
return 1
`

/**
 * KEYS[3]: the stored result of the same name. ARGV: token, note, ttlMs, recoveryMs, then token and
 * heartbeat of the lease that may be taken over, or ''. Returns `taken`, 1 if the result exists or
 * 0, and the lease before; `held` and the current lease; or `recovering` and the time left.
 */
export const ACQUIRE = `${RECOVERY}${TAKE}
local token, fromToken, fromBeat = ARGV[1], ARGV[5], ARGV[6]
local lease = redis.call('HMGET', KEYS[1], 'token', 'beat', 'note', 'parting')
local isHeld = lease[1] and not lease[4]
if isHeld and lease[1] == token then return {'taken'} end
if isHeld and not (lease[1] == fromToken and lease[2] == fromBeat) then
  return {'held', lease[1], lease[2], lease[3]}
end
local found = redis.call('MGET', KEYS[2], KEYS[3])
local waitMs = recoveryLeftMs(KEYS[2], found[1], tonumber(ARGV[4]))
if waitMs > 0 then return {'recovering', waitMs} end
take(KEYS[1], token, 0, ARGV[2], ARGV[3])
if found[1] ~= '0' then redis.call('SET', KEYS[2], 0) end
local isStored = found[2] and 1 or 0
if not lease[1] then return {'taken', isStored} end
return {'taken', isStored, lease[1], lease[2], lease[3], lease[4]}
`

/**
 * KEYS: the leases. ARGV: token, note and ttlMs of each. Returns 1 for each lease that is held,
 * else 0.
 */
export const RENEW = `${TAKE}
local answers = {}
for i, key in ipairs(KEYS) do
  local token, note, ttlMs = ARGV[i * 3 - 2], ARGV[i * 3 - 1], ARGV[i * 3]
  local lease = redis.call('HMGET', key, 'token', 'beat', 'parting')
  if lease[1] and not lease[3] and lease[1] ~= token then
    answers[i] = 0
  else
    take(key, token, tonumber(lease[2] or 0) + 1, note, ttlMs)
    answers[i] = 1
  end
end
return answers
`

/** KEYS[1]: the lease. ARGV: token, outcome, keepMs, channel, name. */
export const RELEASE = `
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'parting', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
-- Followers also poll, so the lease is released even if this user may not publish.
redis.pcall('PUBLISH', ARGV[4], ARGV[5])
return 1
`
