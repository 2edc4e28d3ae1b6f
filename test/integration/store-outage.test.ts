import t from 'tap'
import { startTestGateway, type TestGateway } from '../support/gateway.js'
import { otherJpeg } from '../support/jpeg.js'
import { type RedisServer, startRedis } from '../support/redis-server.js'

const TEAMS = { free: {}, budgeted: { budget: { daily: 5 } } }

async function world(t: { teardown(fn: () => unknown): void }) {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  const gateway = await startTestGateway({ redisUrl: redis.url, teams: TEAMS })
  t.teardown(gateway.stop)
  return { redis, gateway }
}

/** Waits, by asking again, until the gateway says so: what is waited for is an event of another process. */
async function metricBecomes(gateway: TestGateway, line: string): Promise<void> {
  while (!(await gateway.metrics()).includes(line)) await new Promise(resolve => setTimeout(resolve, 20))
}

async function cacheOf(answer: Promise<Response>): Promise<string | null> {
  const { status, headers } = await answer
  return status === 200
    ? headers.get('x-cache')
    : `${status} ${((await (await answer).json()) as { code: string }).code}`
}

const outages: [name: string, begin: (redis: RedisServer) => unknown, end: (redis: RedisServer) => unknown][] = [
  ['stopped', redis => redis.stop(), redis => redis.start()],
  ['frozen', redis => redis.freeze(), redis => redis.thaw()],
]

for (const [name, begin, end] of outages) {
  t.test(
    `Redis ${name}: hits and unbudgeted purchases go on, budgets fail closed, and everything is booked when it is back`,
    async t => {
      const { redis, gateway } = await world(t)
      t.teardown(() => redis.thaw())
      t.equal(await cacheOf(gateway.segment({ prompt: 'known' })), 'MISS')
      await begin(redis)
      t.equal(await cacheOf(gateway.segment({ prompt: 'known' })), 'HIT', 'from memory')
      t.equal(await cacheOf(gateway.segment({ prompt: 'new' })), 'MISS')
      t.equal(await cacheOf(gateway.segment({ prompt: 'new' })), 'HIT', 'kept in memory')
      t.equal(await cacheOf(gateway.segment({ prompt: 'other' }, { team: 'budgeted' })), '503 store_unavailable')
      t.equal((await gateway.fetch('/healthz')).status, 200)
      t.match(await (await gateway.fetch('/readyz')).json(), { status: 'ready', checks: { store: 'down' } })
      t.equal((await gateway.fetch('/usage')).status, 503)
      const metrics = await gateway.metrics()
      t.match(metrics, 'segmind_gateway_store_up 0')
      t.match(metrics, /segmind_gateway_store_failures_total\{doing="ledger: reserve"\} [1-9]/)
      const complaints = gateway
        .log()
        .filter(({ msg }) => msg === 'the store did not do it')
        .map(({ doing }) => doing)
      t.ok(complaints.includes('ledger: reserve'))
      t.equal(new Set(complaints).size, complaints.length, 'each kind of failure is said aloud, once')
      await end(redis)
      await metricBecomes(gateway, 'segmind_gateway_store_up 1')
      await metricBecomes(gateway, 'segmind_gateway_unsaved_ledger_steps 0')
      const usage = (await (await gateway.fetch('/usage')).json()) as { totals: { paidCalls: number } }
      const expected = name === 'stopped' ? 1 : 2
      t.equal(
        usage.totals.paidCalls,
        expected,
        'the call during the outage is booked (a Redis without AOF forgot the one before it was stopped)',
      )
      t.equal(await cacheOf(gateway.segment({ prompt: 'other' }, { team: 'budgeted' })), 'MISS')
      t.equal(gateway.upstream.calls.length, 3)
    },
  )
}

t.test('a gateway starts and answers while Redis is down, and takes it into use when it comes', async t => {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  await redis.stop()
  const gateway = await startTestGateway({ redisUrl: redis.url, teams: TEAMS })
  t.teardown(gateway.stop)
  t.equal(await cacheOf(gateway.segment({ prompt: 'a' })), 'MISS')
  await redis.start()
  await metricBecomes(gateway, 'segmind_gateway_store_up 1')
  await metricBecomes(gateway, 'segmind_gateway_unsaved_ledger_steps 0')
  t.equal(await cacheOf(gateway.segment({ prompt: 'b' })), 'MISS')
  const replica = await startTestGateway({
    redisUrl: redis.url,
    teams: TEAMS,
    keys: gateway.keys,
    upstream: gateway.upstream,
  })
  t.teardown(replica.stop)
  t.equal(await cacheOf(replica.segment({ prompt: 'b' })), 'HIT', 'another replica finds it')
})

t.test('a rate is shared by all replicas through Redis, and limits nobody while Redis is frozen', async t => {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  t.teardown(() => redis.thaw())
  const teams = { slow: { limits: { requests_per_minute: 3 } } }
  const one = await startTestGateway({ redisUrl: redis.url, teams })
  t.teardown(one.stop)
  const two = await startTestGateway({ redisUrl: redis.url, teams, keys: one.keys, upstream: one.upstream })
  t.teardown(two.stop)
  const statuses = []
  for (const gateway of [one, two, one, two, one]) statuses.push((await gateway.fetch('/usage')).status)
  t.same(statuses, [200, 200, 200, 429, 429])
  redis.freeze()
  t.equal(await cacheOf(one.segment({ prompt: 'dog' })), 'MISS')
})

t.test('results survive a restart of the gateway in the embedded store', async t => {
  const first = await startTestGateway({ dataDir: t.testdir({}) })
  await first.segment({ prompt: 'dog' }, { image: await otherJpeg(5) })
  await first.stop()
  const second = await startTestGateway({ dataDir: first.dataDir, keys: first.keys })
  t.teardown(second.stop)
  t.equal(await cacheOf(second.segment({ prompt: 'dog' }, { image: await otherJpeg(5) })), 'HIT')
  t.equal(second.upstream.calls.length, 0)
})
