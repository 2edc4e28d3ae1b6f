import type { RateCount, RateCounts } from '../../contracts/store.js'
import type { RedisConnection } from './connection.js'

/**
 * KEYS[1]: the count of a window, which expires with it. ARGV: amount, maximum, milliseconds of a
 * new window, and the part of what is left that is counted in advance, for the calling process.
 * Returns the sum with the advance, the milliseconds until the window ends, and the advance.
 */
const TAKE = `
local amount, max = tonumber(ARGV[1]), tonumber(ARGV[2])
local sum = tonumber(redis.call('GET', KEYS[1]) or 0) + amount
local endsIn = redis.call('PTTL', KEYS[1])
local isOpen = endsIn > 0
if not isOpen then endsIn = tonumber(ARGV[3]) end
if amount == 0 or sum > max then return {sum, endsIn, 0} end
local advance = math.floor((max - sum) * tonumber(ARGV[4]))
if advance < 2 then advance = 0 end
redis.call('INCRBY', KEYS[1], amount + advance)
if not isOpen then redis.call('PEXPIRE', KEYS[1], endsIn) end
return {sum + advance, endsIn, advance}
`

/**
 * A process counts up to this part of what is left in advance, so that most requests need not ask
 * Redis. Where that is less than 2, each request is counted alone. A process never takes more than
 * the maximum allows, but may leave its advance unused.
 */
const ADVANCE = 1 / 64

/** Requests that a process has counted in advance in one window. */
interface Advance {
  max: number
  left: number
  /** The count in Redis as last seen, with the advances of all processes. */
  sum: number
  /** By `performance.now()`. */
  endsAt: number
}

/** Creates counts that all replicas share: each step is one script. */
export function createRates(connection: RedisConnection, prefix: string): RateCounts {
  const script = connection.script('rateTake', 1, TAKE)
  const advances = new Map<string, Advance>()
  /** Names for which an advance is requested. Many requests at once must not take one each. */
  const requested = new Set<string>()

  const request = async (name: string, ...args: [amount: number, max: number, windowMs: number]) => {
    const isFirst = !requested.has(name)
    requested.add(name)
    const taking = script(`${prefix}:${name}`, ...args, isFirst ? ADVANCE : 0)
    return (await taking.finally(() => isFirst && requested.delete(name))) as [number, number, number]
  }
  const find = (name: string, max: number, now: number): Advance | undefined => {
    const known = advances.get(name)
    if (known && (known.max !== max || known.endsAt <= now)) advances.delete(name)
    return advances.get(name)
  }
  const takeShared = async (
    name: string,
    amount: number,
    { max, windowMs }: { max: number; windowMs: number },
  ): Promise<RateCount> => {
    const sentAt = performance.now()
    const known = amount > 0 ? find(name, max, sentAt) : undefined
    const own = known?.left ?? 0
    if (known) known.left = 0
    const [sum, endsInMs, advance] = await request(name, amount - own, max, windowMs)
    const isRefused = amount > 0 && sum > max
    const left = (find(name, max, performance.now())?.left ?? 0) + (isRefused ? own : advance)
    if (left > 0)
      advances.set(name, { max, left, sum: isRefused ? sum - amount + own : sum, endsAt: sentAt + endsInMs })
    return { sum: isRefused ? sum : sum - left, endsInMs }
  }
  return {
    take(name, amount, window) {
      const now = performance.now()
      const known = find(name, window.max, now)
      if (!known || amount === 0 || amount > known.left) return takeShared(name, amount, window)
      known.left -= amount
      return { sum: known.sum - known.left, endsInMs: Math.ceil(known.endsAt - now) }
    },
  }
}
