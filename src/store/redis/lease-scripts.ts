/*
 * The steps of a lease, each one atomic because it is one script.
 *
 *   KEYS[1]  the lease of a name: a hash of token, beat, note and, once it has landed, parting; it expires
 *   KEYS[2]  since when there are leases here, in milliseconds of Redis' own clock; it never expires. A Redis without it is new, or has
 *            lost everything: who holds a name may have to say so again first.
 */

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** A clock that was put back, or a replica with another one, must not make everybody wait until it has caught up: it begins anew. */
const SETTLING = `
local function settlingMs(sinceKey, now, settleMs)
  local since = tonumber(redis.call('GET', sinceKey) or now + 1)
  if since > now then
    since = now
    redis.call('SET', sinceKey, string.format('%.0f', now))
  end
  return since + settleMs - now
end
`

const TAKE = `
local function take(key, token, beat, note, ttlMs)
  redis.call('DEL', key)
  redis.call('HSET', key, 'token', token, 'beat', beat, 'note', note)
  redis.call('PEXPIRE', key, ttlMs)
end
`

/** KEYS[1] since when. Begins to count, so that the first who asks need not wait for it. */
export const SINCE = `${NOW}
redis.call('SET', KEYS[1], string.format('%.0f', now), 'NX')
return 1
`

/**
 * ARGV: token, note, ttlMs, settleMs, then token and beat of the sight it may be taken over from, or ''. Answers `taken` and how it stood
 * before, `held` and how it stands, or `settling` and for how long.
 */
export const ACQUIRE = `${NOW}${SETTLING}${TAKE}
local token, fromToken, fromBeat = ARGV[1], ARGV[5], ARGV[6]
local sight = redis.call('HMGET', KEYS[1], 'token', 'beat', 'note', 'parting')
local isLive = sight[1] and not sight[4]
if isLive and sight[1] == token then return {'taken'} end
local waitMs = settlingMs(KEYS[2], now, tonumber(ARGV[4]))
if isLive and not (sight[1] == fromToken and sight[2] == fromBeat) then
  return {'held', sight[1], sight[2], sight[3]}
end
if waitMs > 0 then return {'settling', waitMs} end
take(KEYS[1], token, 0, ARGV[2], ARGV[3])
if not sight[1] then return {'taken'} end
return {'taken', sight[1], sight[2], sight[3], sight[4]}
`

/** KEYS: one lease each. ARGV: token, note and ttlMs of each. Answers for each 1 where it is held. */
export const BEAT = `${TAKE}
local answers = {}
for i, key in ipairs(KEYS) do
  local token, note, ttlMs = ARGV[i * 3 - 2], ARGV[i * 3 - 1], ARGV[i * 3]
  local sight = redis.call('HMGET', key, 'token', 'beat', 'parting')
  if sight[1] and not sight[3] and sight[1] ~= token then
    answers[i] = 0
  else
    take(key, token, tonumber(sight[2] or 0) + 1, note, ttlMs)
    answers[i] = 1
  end
end
return answers
`

/** KEYS[1] the lease. ARGV: token, parting, keepMs, channel, name. */
export const LAND = `
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'parting', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
-- A hint: a user that may not publish lands all the same.
redis.pcall('PUBLISH', ARGV[4], ARGV[5])
return 1
`
