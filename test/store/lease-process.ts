// A process that acquires leases as fast as it can. Started by the tests with: technology, target,
// prefix.
import type { LeaseSnapshot } from '../../src/contracts/store.js'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.js'
import { openRedisStore } from '../../src/store/redis/redis-store.js'

const [, , technology = '', target = '', keyPrefix = ''] = process.argv
const store =
  technology === 'redis'
    ? await openRedisStore({ url: target, keyPrefix, commandSilenceMs: 10_000 })
    : await openEmbeddedStore({ dir: target, maxBytes: 1_000_000 })

process.once('message', async (wanted: { name: string; from?: LeaseSnapshot }[]) => {
  const attempts = wanted.map(({ name, from }) =>
    store.leases.acquire({ name, token: `${process.pid}`, note: '{}', ttlMs: 60_000 }, from),
  )
  const outcomes = await Promise.all(attempts)
  await store.close()
  const taken = wanted.flatMap(({ name }, index) => (outcomes[index]?.kind === 'taken' ? [name] : []))
  process.send?.(taken, () => process.disconnect())
})
process.send?.('ready')
