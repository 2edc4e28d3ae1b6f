import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import type { RecordStore } from '../../src/contracts/store.js'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.js'
import { openRedisStore } from '../../src/store/redis/redis-store.js'
import { type RedisServer, startRedis } from '../support/programs/redis-server.js'

/** The records of one store as two replicas see them. */
export type Replicas = readonly [RecordStore, RecordStore]

/** Runs a test against both real stores: two connections to Redis, one embedded store. */
export function withBothStores(t: Test, name: string, run: (t: Test, replicas: Replicas) => Promise<void>): void {
  void t.test(`${name} (embedded store)`, async t => {
    const store = await openEmbeddedStore({ dir: t.testdir(), maxBytes: 64 * 1024 ** 2 })
    t.teardown(() => store.close())
    await run(t, [store.records, store.records])
  })
  void t.test(`${name} (Redis)`, async t => {
    const server: RedisServer = await startRedis()
    t.teardown(() => server.close())
    const options = { url: server.url, keyPrefix: `alerts-${randomUUID()}`, commandSilenceMs: 10_000 }
    const stores = [await openRedisStore(options), await openRedisStore(options)] as const
    t.teardown(() => Promise.all(stores.map(store => store.close())))
    await run(t, [stores[0].records, stores[1].records])
  })
}

/**
 * The same records, but the first reads of all replicas complete together, so that each writes on
 * the same state.
 */
export function meeting(replicas: Replicas): Replicas {
  let missing = replicas.length
  let open: () => void = () => {}
  const all = new Promise<void>(resolve => {
    open = resolve
  })
  const staged = (records: RecordStore): RecordStore => ({
    put: records.put,
    delete: records.delete,
    async get(key) {
      const found = await records.get(key)
      if (--missing === 0) open()
      await all
      return found
    },
  })
  return [staged(replicas[0]), staged(replicas[1])]
}
