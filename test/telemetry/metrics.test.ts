import t from 'tap'
import { Metrics } from '../../src/telemetry/metrics.js'
import { startFakeSegmind } from '../support/doubles/fake-segmind.js'
import { eventually } from '../support/eventually.js'
import { startTestGateway } from '../support/gateway/gateway.js'

/** Returns the values of one metric by its labels, as Prometheus reads them. */
function valuesOf(text: string, name: string): Record<string, number> {
  const lines = text.split('\n').filter(line => line.startsWith(`segmind_gateway_${name}{`))
  return Object.fromEntries(
    lines.map(line => [
      line.slice(line.indexOf('{') + 1, line.indexOf('}')),
      Number(line.slice(line.indexOf('}') + 1)),
    ]),
  )
}

t.test('counters with fixed label values start at 0', async t => {
  const gateway = await startTestGateway({ teams: { vision: {}, silent: {} } })
  t.teardown(gateway.stop)
  const text = await gateway.metrics()
  t.same(valuesOf(text, 'upstream_retries_total'), { 'why="unsent"': 0, 'why="busy"': 0, 'why="server_error"': 0 })
  t.same(valuesOf(text, 'orphaned_calls_total'), { 'fate="resumed"': 0, 'fate="unknown"': 0 })
  t.same(valuesOf(text, 'lost_results_total'), { 'why="no_room"': 0, 'why="refused"': 0 })
  t.same(Object.keys(valuesOf(text, 'flights_total')).length, 4)
  t.same(valuesOf(text, 'credits_spent_total'), { 'team="vision"': 0, 'team="silent"': 0 })
  t.same(Object.keys(valuesOf(text, 'results_total')).length, 10)
  t.same(valuesOf(text, 'queue_depth'), { 'team="vision"': 0, 'team="silent"': 0 })
  t.same(valuesOf(text, 'requests_total'), {}, 'statuses are not known beforehand')
  const errors = valuesOf(text, 'errors_total')
  t.match(errors, { 'route="/segment",code="upstream_failed"': 0, 'route="/segment/batch",code="overloaded"': 0 })
  t.notOk(
    Object.keys(errors).some(labels => labels.includes('invalid_parameter')),
    'the caller’s mistakes are no outage',
  )
})

t.test('starting at 0 keeps existing counts', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  await (await gateway.segment()).arrayBuffer()
  await (await gateway.segment()).arrayBuffer()
  await gateway.metrics()
  const text = await gateway.metrics()
  t.same(valuesOf(text, 'credits_spent_total'), { 'team="vision"': 0.0017 })
  t.same(valuesOf(text, 'credits_saved_total'), {
    'team="vision",how="cache"': 0.0017,
    'team="vision",how="coalesced"': 0,
  })
})

t.test('a retry is counted by reason', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  gateway.upstream.script({ status: 500, body: '' })
  t.equal((await gateway.segment({ prompt: 'one' })).status, 200)
  gateway.upstream.script({ status: 429, body: '', headers: { 'retry-after': '0' } })
  t.equal((await gateway.segment({ prompt: 'two' })).status, 200)
  await gateway.upstream.goOffline()
  await (await gateway.segment({ prompt: 'three' })).arrayBuffer()
  const values = valuesOf(await gateway.metrics(), 'upstream_retries_total')
  t.same(values, { 'why="unsent"': 2, 'why="busy"': 1, 'why="server_error"': 1 })
})

t.test('a budget has gauges for each window with a limit', async t => {
  const gateway = await startTestGateway({
    teams: { vision: { budget: { daily: 1, monthly: 20 } }, labs: { budget: { daily: 3 } }, free: {} },
  })
  t.teardown(gateway.stop)
  await (await gateway.segment()).arrayBuffer()
  const text = await gateway.metrics()
  t.same(valuesOf(text, 'budget_limit_credits'), {
    'team="vision",window="daily"': 1,
    'team="vision",window="monthly"': 20,
    'team="labs",window="daily"': 3,
  })
  t.same(valuesOf(text, 'budget_remaining_credits'), {
    'team="vision",window="daily"': 0.9983,
    'team="vision",window="monthly"': 19.9983,
    'team="labs",window="daily"': 3,
  })
})

t.test('the state of the shared key is exposed once known', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const gauge = async () => /^segmind_gateway_shared_key_ok (.*)$/m.exec(await gateway.metrics())?.[1]
  await (await gateway.segment({ prompt: 'one' })).arrayBuffer()
  t.equal(await gauge(), '1')
  gateway.upstream.script({ status: 403, body: { error: 'Invalid API key' } })
  t.equal((await gateway.segment({ prompt: 'two' })).status, 502)
  t.equal(await gauge(), '0')
  gateway.upstream.script({ status: 500, body: '' }, { status: 500, body: '' })
  await (await gateway.segment({ prompt: 'three' })).arrayBuffer()
  t.equal(await gauge(), '0', 'a failure says nothing about the key')
  await (await gateway.segment({ prompt: 'four' })).arrayBuffer()
  t.equal(await gauge(), '1')
})

t.test('an unknown state of the shared key has no series', async t => {
  const upstream = await startFakeSegmind()
  await upstream.goOffline()
  const gateway = await startTestGateway({ upstream })
  t.teardown(async () => {
    await gateway.stop()
    await upstream.close()
  })
  const text = await gateway.metrics()
  t.match(text, /^# TYPE segmind_gateway_shared_key_ok gauge$/m)
  t.notMatch(text, /^segmind_gateway_shared_key_ok /m)
})

t.test('the queue depth is exposed for every team, including 0', async t => {
  const gateway = await startTestGateway({ teams: { vision: {}, silent: {} }, env: { SEGMIND_MAX_CONCURRENCY: '1' } })
  t.teardown(gateway.stop)
  const held = gateway.upstream.hold()
  const requests = ['one', 'two', 'three'].map(async prompt => (await gateway.segment({ prompt })).arrayBuffer())
  const depths = async () => valuesOf(await gateway.metrics(), 'queue_depth')
  await eventually('the queue never held two requests', async () => (await depths())['team="vision"'] === 2)
  t.same(await depths(), { 'team="vision"': 2, 'team="silent"': 0 })
  held.open()
  await Promise.all(requests)
  t.same(await depths(), { 'team="vision"': 0, 'team="silent"': 0 })
})

t.test('gauges of one scrape share a read, and the next scrape reads again', async t => {
  const reads = { budgets: 0, cache: 0 }
  const metrics = new Metrics()
  metrics.observe({
    teams: () => [],
    upstreamInFlight: () => 0,
    queueDepth: () => new Map(),
    storeUp: () => true,
    ledgerState: () => 'ok',
    teamsFileOk: () => true,
    connections: () => ({ authenticated: 0, anonymous: 0 }),
    balance: () => undefined,
    priceEstimate: () => 0,
    drift: () => undefined,
    runwaySeconds: () => undefined,
    creditState: () => undefined,
    burn: () => ({}),
    sharedKey: () => undefined,
    unsavedSteps: () => 0,
    unsavedResults: () => ({ results: 0, bytes: 0 }),
    breakerOpen: () => false,
    historyState: () => 'on',
    cache: async () => {
      reads.cache++
      return []
    },
    budgets: async () => {
      reads.budgets++
      return [{ team: 'vision', window: 'daily', limit: 2_000_000_000, remaining: reads.budgets * 1_000_000_000 }]
    },
  })
  const { text } = await metrics.expose()
  t.same(reads, { budgets: 1, cache: 1 })
  t.match(text, 'segmind_gateway_budget_limit_credits{team="vision",window="daily"} 2\n')
  t.match(text, 'segmind_gateway_budget_remaining_credits{team="vision",window="daily"} 1\n')
  t.match((await metrics.expose()).text, 'segmind_gateway_budget_remaining_credits{team="vision",window="daily"} 2\n')
  t.same(reads, { budgets: 2, cache: 2 })
})
