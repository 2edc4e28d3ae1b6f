import { randomUUID } from 'node:crypto'
import type { RecordStore } from '../../contracts/store.js'
import type { RedisConnection } from './connection.js'

/**
 * KEYS[1]: a record, a hash of value and version. ARGV: value, the expected version, the new
 * version, seconds to live or ''.
 */
const PUT = `
if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'value', ARGV[1], 'version', ARGV[3])
if ARGV[4] == '' then redis.call('PERSIST', KEYS[1]) else redis.call('EXPIRE', KEYS[1], ARGV[4]) end
return 1
`

/** KEYS[1]: a record. ARGV: the expected version. */
const DELETE = `
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`

/** Creates shared records in Redis: each is a hash, and each change is one script. */
export function createRecords(connection: RedisConnection, prefix: string): RecordStore {
  const put = connection.script('recordPut', 1, PUT)
  const remove = connection.script('recordDelete', 1, DELETE)
  const toRedisKey = (key: string) => `${prefix}:${key}`
  return {
    async get(key) {
      const [value, version] = await connection.run(redis => redis.hmget(toRedisKey(key), 'value', 'version'))
      return typeof value === 'string' && typeof version === 'string' ? { value, version } : undefined
    },
    async put(key, value, expectedVersion, ttlSeconds) {
      return (await put(toRedisKey(key), value, expectedVersion, randomUUID(), ttlSeconds ?? '')) === 1
    },
    async delete(key, expectedVersion) {
      return (await remove(toRedisKey(key), expectedVersion)) === 1
    },
  }
}
