import { randomUUID } from 'node:crypto'
import type { RecordStore } from '../../storage.js'
import type { Connection } from './connection.js'

/** KEYS[1] a record: a hash of value and version. ARGV: value, the version that was seen, the new one, seconds to live or ''. */
const PUT = `
if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'value', ARGV[1], 'version', ARGV[3])
if ARGV[4] == '' then redis.call('PERSIST', KEYS[1]) else redis.call('EXPIRE', KEYS[1], ARGV[4]) end
return 1
`

/** KEYS[1] a record. ARGV: the version that was seen. */
const DELETE = `
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`

/** Shared records in Redis: each a hash, each step one script. */
export function createRecords(connection: Connection, prefix: string): RecordStore {
  const put = connection.script('recordPut', 1, PUT)
  const remove = connection.script('recordDelete', 1, DELETE)
  const name = (key: string) => `${prefix}:${key}`
  return {
    async get(key) {
      const [value, version] = await connection.run(redis => redis.hmget(name(key), 'value', 'version'))
      return typeof value === 'string' && typeof version === 'string' ? { value, version } : undefined
    },
    async put(key, value, seen, ttlSeconds) {
      return (await put(name(key), value, seen, randomUUID(), ttlSeconds ?? '')) === 1
    },
    async delete(key, seen) {
      return (await remove(name(key), seen)) === 1
    },
  }
}
