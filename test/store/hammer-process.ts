// A process of its own that reserves against one limit as fast as it can. Started by the tests with: technology, target, prefix, number.
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.js'
import { openRedisStore } from '../../src/store/redis/redis-store.js'
import { call, charged } from './samples.js'

const [, , technology = '', target = '', keyPrefix = '', attempts = '0'] = process.argv
const store =
  technology === 'redis'
    ? await openRedisStore({ url: target, keyPrefix, commandSilenceMs: 10_000 })
    : await openEmbeddedStore({ dir: target, maxBytes: 1_000_000 })

process.once('message', async limit => {
  let booked = 0
  let highest = 0
  const attempt = async (index: number): Promise<void> => {
    const entry = call(`${process.pid}-${index}`)
    const outcome = await store.ledger.reserve(entry, { daily: Number(limit) })
    highest = Math.max(highest, outcome.booked.daily)
    if (!outcome.ok) return
    booked++
    if (index % 2 === 0) await store.ledger.settle(entry, charged(entry.estimate))
  }
  await Promise.all(Array.from({ length: Number(attempts) }, (_, index) => attempt(index)))
  await store.close()
  process.send?.({ booked, highest }, () => process.disconnect())
})
process.send?.('ready')
