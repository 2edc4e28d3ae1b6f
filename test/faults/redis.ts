import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../support/programs/free-port.js'
import type { GuardedProcess } from '../support/programs/guardian.js'
import { launchRedis, trustLeases, withClient } from '../support/programs/redis-server.js'

/**
 * A redis-server that syncs every write before it responds, so that its data can be read after a
 * kill.
 */
export interface DurableRedis {
  url: string
  kill(): Promise<void>
  /** Starts it again with its data. */
  restart(): Promise<void>
  /** Starts an empty server on the same port and discards the data. */
  startEmpty(): Promise<void>
  freeze(): void
  thaw(): void
  /** Removes every key while it runs. */
  flush(): Promise<void>
  /** Refuses writes that need memory, or accepts them again. */
  setFull(isFull: boolean): Promise<void>
  /** May evict any key while `isOn`. Evicts the sums of the ledger and some other keys, not its entries. */
  setEvicting(isOn: boolean): Promise<void>
  /** Data that was removed, apart from evicted keys. */
  discarded: readonly DiscardedData[]
}

/** Data of a server that was killed, or the keys of one that was flushed, as `DUMP` returns them. */
export type DiscardedData = { dir: string } | { dump: [key: string, value: Buffer][] }

/** Returns every key with its value and removes it, in one step. */
const FLUSH = `
local dump = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  dump[#dump + 1] = key
  dump[#dump + 1] = redis.call('DUMP', key)
end
redis.call('FLUSHALL')
return dump
`

/** Removes the sums of the ledger, and every other one of the keys outside of it. */
const EVICT = `
for index, key in ipairs(redis.call('KEYS', '*')) do
  local isLedger = string.find(key, ':ledger}:', 1, true)
  local isSum = string.find(key, ':totals:', 1, true) or string.find(key, ':booked:', 1, true)
  if isSum or (not isLedger and index % 2 == 0) then redis.call('DEL', key) end
end
`

/**
 * Starts a server on a free port, with its data below `dir`. Gateways trust its leases at once, but
 * not those of an empty successor.
 */
export async function startDurableRedis(dir: string): Promise<DurableRedis> {
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  const discarded: DiscardedData[] = []
  let generation = 0
  const folder = () => join(dir, `redis-${generation}`)
  let running = await launch(folder(), port)
  await trustLeases(url)
  return {
    url,
    discarded,
    async kill() {
      await running.end('SIGKILL')
    },
    async restart() {
      running = await launch(folder(), port)
    },
    async startEmpty() {
      discarded.push({ dir: folder() })
      generation++
      running = await launch(folder(), port)
    },
    freeze: () => void running.child.kill('SIGSTOP'),
    thaw: () => void running.child.kill('SIGCONT'),
    async flush() {
      const removed = await withClient(url, client => client.callBuffer('EVAL', FLUSH, 0))
      const parts = removed as Buffer[]
      const keys = parts.filter((_, index) => index % 2 === 0)
      discarded.push({ dump: keys.map((key, index) => [String(key), parts[2 * index + 1] as Buffer]) })
    },
    async setFull(isFull) {
      await withClient(url, client => client.config('SET', 'maxmemory', isFull ? 1 : 0))
    },
    async setEvicting(isOn) {
      await withClient(url, async client => {
        const policy = isOn ? 'allkeys-lru' : 'noeviction'
        await client.config('SET', 'maxmemory', isOn ? 2 ** 30 : 0, 'maxmemory-policy', policy)
        if (isOn) await client.eval(EVICT, 0)
      })
    },
  }
}

/** Runs `read` against a server with data that was removed. A new server uses the folder `emptyDir`. */
export async function withRedisOver<T>(
  data: DiscardedData,
  emptyDir: string,
  read: (url: string) => Promise<T>,
): Promise<T> {
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  const running = await launch('dir' in data ? data.dir : emptyDir, port)
  try {
    if ('dump' in data)
      await withClient(url, async client => {
        for (const [key, value] of data.dump) await client.restore(key, 0, value)
      })
    return await read(url)
  } finally {
    await running.end('SIGKILL')
  }
}

async function launch(dir: string, port: number): Promise<GuardedProcess> {
  await mkdir(dir, { recursive: true })
  return launchRedis(dir, port, ['--appendonly', 'yes', '--appendfsync', 'always'])
}
