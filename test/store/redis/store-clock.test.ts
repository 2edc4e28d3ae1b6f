import t from 'tap'
import { openRedisStore } from '../../../src/store/redis/redis-store.js'
import { eventually } from '../../support/eventually.js'
import { startRedis } from '../../support/programs/redis-server.js'

const HOUR_MS = 3_600_000

t.test('replicas with clocks hours apart share the time of the store', async t => {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  const times = [2 * HOUR_MS, 0, -5 * HOUR_MS].map(async aheadMs => {
    const store = await openRedisStore({ url: redis.url, now: () => Date.now() + aheadMs })
    t.teardown(() => store.close())
    return store.now() - Date.now()
  })
  for (const aheadMs of await Promise.all(times)) t.ok(Math.abs(aheadMs) < 1_000, `${aheadMs} ms ahead`)
})

t.test('a store that starts without Redis compares the clocks once Redis answers', async t => {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  await redis.stop()
  const store = await openRedisStore({ url: redis.url, now: () => Date.now() - HOUR_MS })
  t.teardown(() => store.close())
  t.ok(store.now() < Date.now() - HOUR_MS / 2, 'the clock of the machine')
  await redis.start()
  await eventually('the clocks were not compared', () => Math.abs(store.now() - Date.now()) < 1_000)
})

t.test('a clock of the machine that is set back while Redis answers is not compared', async t => {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  let aheadMs = HOUR_MS
  const store = await openRedisStore({
    url: redis.url,
    // Each reading is 10 s before the one before it.
    now() {
      aheadMs -= 10_000
      return Date.now() + aheadMs
    },
  })
  t.teardown(() => store.close())
  t.ok(store.now() > Date.now() + HOUR_MS / 2, 'the difference was measured with a moving clock')
})
