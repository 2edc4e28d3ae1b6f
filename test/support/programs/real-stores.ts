import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import type { Store } from '../../../src/contracts/store.js'
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.js'
import { openRedisStore } from '../../../src/store/redis/redis-store.js'
import { startRedis } from './redis-server.js'

/** Store technologies by name. Each opens a new, empty store that is closed with the test. */
export async function realStores(t: Test): Promise<Record<string, (t: Test) => Promise<Store>>> {
  const server = await startRedis()
  t.teardown(() => server.close())
  const ending = async (t: Test, opening: Promise<Store>) => {
    const store = await opening
    t.teardown(() => store.close())
    return store
  }
  return {
    embedded: t => ending(t, openEmbeddedStore({ dir: t.testdir(), maxBytes: 200_000_000 })),
    redis: t =>
      ending(t, openRedisStore({ url: server.url, keyPrefix: `own-${randomUUID()}`, commandSilenceMs: 10_000 })),
  }
}
