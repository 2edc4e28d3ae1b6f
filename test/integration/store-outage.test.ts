import t from 'tap'
import { otherJpeg } from '../fixtures/jpeg.js'
import { eventually } from '../support/eventually.js'
import { startTestGateway, type TestGateway } from '../support/gateway/gateway.js'
import { type RedisServer, startRedis } from '../support/programs/redis-server.js'

const TEAMS = { free: {}, budgeted: { budget: { daily: 5 } } }

async function setUp(t: { teardown(fn: () => unknown): void }) {
  const redis = await startRedis({ appendonly: true })
  t.teardown(() => redis.close())
  const gateway = await startTestGateway({ redisUrl: redis.url, teams: TEAMS })
  t.teardown(gateway.stop)
  return { redis, gateway }
}

/** Polls the metrics until they contain a line, because the event happens in another process. */
async function metricBecomes(gateway: TestGateway, line: string): Promise<void> {
  await eventually(`the metrics never had: ${line}`, async () => (await gateway.metrics()).includes(line))
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
    `Redis ${name}: hits and purchases without a budget continue, budgets fail closed, and everything is booked later`,
    async t => {
      const { redis, gateway } = await setUp(t)
      t.teardown(() => redis.thaw())
      t.equal(await cacheOf(gateway.segment({ prompt: 'known' })), 'MISS')
      await begin(redis)
      t.equal(await cacheOf(gateway.segment({ prompt: 'known' })), 'HIT', 'from memory')
      t.equal(await cacheOf(gateway.segment({ prompt: 'new' })), 'MISS')
      t.equal(await cacheOf(gateway.segment({ prompt: 'new' })), 'HIT', 'stored in memory')
      t.equal(await cacheOf(gateway.segment({ prompt: 'other' }, { team: 'budgeted' })), '503 store_unavailable')
      t.equal((await gateway.fetch('/healthz')).status, 200)
      t.match(await (await gateway.fetch('/readyz')).json(), { status: 'ready', checks: { store: 'down' } })
      t.equal((await gateway.fetch('/usage')).status, 503)
      const metrics = await gateway.metrics()
      t.match(metrics, 'segmind_gateway_store_up 0')
      t.match(metrics, /segmind_gateway_store_failures_total\{doing="ledger: reserve"\} [1-9]/)
      const failures = gateway
        .log()
        .filter(({ msg }) => msg === 'store operation failed')
        .map(({ doing }) => doing)
      t.ok(failures.includes('ledger: reserve'))
      t.equal(new Set(failures).size, failures.length, 'each kind of failure is logged once')
      await end(redis)
      await metricBecomes(gateway, 'segmind_gateway_store_up 1')
      await metricBecomes(gateway, 'segmind_gateway_unsaved_ledger_steps 0')
      const usage = (await (await gateway.fetch('/usage')).json()) as { totals: { paidCalls: number } }
      t.equal(usage.totals.paidCalls, 2, 'the call during the outage is booked')
      t.equal(await cacheOf(gateway.segment({ prompt: 'other' }, { team: 'budgeted' })), 'MISS')
      t.equal(gateway.upstream.calls.length, 3)
    },
  )
}

t.test('a gateway starts while Redis is down, and uses it once it is up', async t => {
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

t.test('a rate is shared through Redis, and not limited while Redis is frozen', async t => {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  t.teardown(() => redis.thaw())
  const teams = { slow: { limits: { reads_per_minute: 3 } } }
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
