import type { RateCounts } from '../../contracts/store.js'
import type { RedisConnection } from './connection.js'

/**
 * KEYS[1]: the count of a window, which expires with it. ARGV: amount, maximum, milliseconds of a
 * new window. Returns the sum, and the milliseconds until the window ends.
 */
const TAKE = `
local amount = tonumber(ARGV[1])
local sum = tonumber(redis.call('GET', KEYS[1]) or 0) + amount
local endsIn = redis.call('PTTL', KEYS[1])
local isOpen = endsIn > 0
if not isOpen then endsIn = tonumber(ARGV[3]) end
if amount > 0 and sum <= tonumber(ARGV[2]) then
  redis.call('INCRBY', KEYS[1], amount)
  if not isOpen then redis.call('PEXPIRE', KEYS[1], endsIn) end
end
return {sum, endsIn}
`

/** Creates counts that all replicas share: each step is one script. */
export function createRates(connection: RedisConnection, prefix: string): RateCounts {
  const take = connection.script('rateTake', 1, TAKE)
  return {
    async take(name, amount, { max, windowMs }) {
      const [sum, endsInMs] = (await take(`${prefix}:${name}`, amount, max, windowMs)) as [number, number]
      return { sum, endsInMs }
    },
  }
}
