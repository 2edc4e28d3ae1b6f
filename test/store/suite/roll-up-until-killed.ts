// A process that rolls up a day and reports each step, until it is killed.
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.js'
import { openRedisStore } from '../../../src/store/redis/redis-store.js'
import { DAY } from './samples.js'

const [, , technology = '', target = '', keyPrefix = ''] = process.argv
const { ledger } =
  technology === 'redis'
    ? await openRedisStore({ url: target, keyPrefix, commandSilenceMs: 10_000 })
    : await openEmbeddedStore({ dir: target, maxBytes: 1_000_000 })
for await (const removed of ledger.rollUp(DAY, 10)) process.send?.(removed)
process.send?.('done')
