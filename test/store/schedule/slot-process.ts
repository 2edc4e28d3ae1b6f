// A process that takes two slots and keeps them until it is killed. Started by the tests with:
// technology, target, prefix.
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.js'
import { openRedisStore } from '../../../src/store/redis/redis-store.js'
import { change, entry, limits } from './scenario.js'

const [, , technology = '', target = '', keyPrefix = ''] = process.argv
const { schedule } =
  technology === 'redis'
    ? await openRedisStore({ url: target, keyPrefix, commandSilenceMs: 10_000 })
    : await openEmbeddedStore({ dir: target, maxBytes: 1_000_000 })

const within = limits({ slots: 2, ttlMs: 1_000 })
const { own } = await schedule.step(change('dead', { enter: [entry(1), entry(2)] }), within)
setInterval(() => void schedule.step(change('dead'), within), 100)
process.send?.([...own.values()].filter(state => state === 'running').length)
