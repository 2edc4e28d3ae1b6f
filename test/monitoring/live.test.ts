import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { startFakeSegmind } from '../support/doubles/fake-segmind.js'
import { eventually } from '../support/eventually.js'
import { startTestGateway } from '../support/gateway/gateway.js'
import {
  findOrSkip,
  findRedisExporterOrSkip,
  startPrometheus,
  startRedisExporter,
} from '../support/programs/prometheus.js'
import { startRedis } from '../support/programs/redis-server.js'
import { type Check, type Finding, loadCheck } from '../support/repository/dashboards.js'
import { concurrent, failures, normalTraffic, outage, queue, stale, uploads, type World } from './load.js'

const HOUR_MS = 3_600_000
/** Age of the gateway's data: the weekly burn is known after half a week. */
const BEGAN_MS = 100 * HOUR_MS
const RANGE_SECONDS = 120
const LIMIT_BYTES = 64 * 1024 ** 2
const DEADLINE_MS = 90_000

t.setTimeout(200_000)

// The programs are started inside one test, so that they end with it, even when it fails.
t.test('the dashboards over a real Prometheus', async t => {
  const program = findOrSkip(t, 'prometheus', 'the dashboards were not tested')
  if (program) await testDashboards(t, program)
})

async function testDashboards(t: Test, program: string): Promise<void> {
  const check = await loadCheck()
  const dashboards = check.readDashboards()
  const { world, prometheus, targets, without } = await startWorld(t, program)
  const options = { prometheus, dashboards, rangeSeconds: RANGE_SECONDS, without }
  const queued = async () => {
    const found = await instant(prometheus, 'segmind_gateway_queue_depth > 0')
    return found.length > 0
  }

  await t.test('the load produces every event that has a panel', async t => {
    // Prometheus does not see an increase that precedes its first scrape.
    await eventually('Prometheus never reached every target', async () => {
      return (await instant(prometheus, 'up == 1')).length === targets
    })
    t.equal(await stale(world, 'old'), 'STALE')
    t.same((await concurrent(world, 'first')).sort(), ['COALESCED', 'COALESCED', 'MISS'])
    t.same(await failures(world, 'first'), ['MISS', 'MISS', '502', '401', '400'])
    t.equal(await outage(world, 'first'), '503')
    t.same(await queue(world, 'first', () => eventually('Prometheus never saw the queue', queued)), [
      'MISS',
      'MISS',
      'MISS',
      'MISS',
    ])
    await uploads(world, 1)
  })

  await t.test('every query of every panel returns data, with the labels of its legend', async t => {
    const found = await settled(check, options, world)
    for (const finding of found) t.equal(finding.state, 'ok', check.lineOf(finding))
    t.ok(found.length > 80, `${found.length} queries`)
    const command = ['docker/grafana/check.mjs', '--strict', '--prometheus', prometheus, '--range', `${RANGE_SECONDS}`]
    const { stdout } = await run([...command, ...without.flatMap(prefix => ['--without', prefix])])
    t.match(stdout, /^\d+ with data, 0 without\n$/, 'the command reports the same')
  })

  await t.test('two replicas report one account and their own counters', async t => {
    const [balance, ...others] = await instant(prometheus, 'min(segmind_remaining_credits)')
    t.strictSame(others, [])
    t.ok(Number(balance?.value[1]) > 0)
    t.equal((await instant(prometheus, 'segmind_remaining_credits')).length, 2)
    const found = await check.runQueries(options)
    for (const panel of ['Balance', 'Runway', 'Drift', 'Price of a call', 'Spent', 'Credit state'])
      t.equal(found.find(finding => finding.panel === panel)?.now, 1, panel)
  })

  await t.test('the panels show the chosen team', async t => {
    const seriesOf = async (team: string, panel: string) =>
      (await check.runQueries({ ...options, team })).find(finding => finding.panel === panel)?.now
    for (const panel of ['Spend by team', 'Uploads by team']) {
      t.equal(await seriesOf('vision', panel), 1, panel)
      t.equal(await seriesOf('vision|budgeted', panel), 2, panel)
    }
  })

  await t.test('the check finds a query without data, an invalid one, and an unknown label', async t => {
    const target = (expr: string, legendFormat = '') => ({ expr, legendFormat, range: true, instant: false })
    const queries = [target('sum(nothing_total)'), target('sum(('), target('sum(up)', '{{team}}'), target('0 / 0 * up')]
    const broken = { 'broken.json': { ...dashboards['credits.json'], panels: [{ title: 'it', targets: queries }] } }
    const found = await check.runQueries({ ...options, dashboards: broken as never })
    t.strictSame(
      found.map(({ state }) => state),
      ['ok', 'EMPTY', 'ERROR', 'NO SUCH LABEL', 'ALL NaN'],
    )
    t.match(check.lineOf(found[1] as Finding), /^EMPTY +broken\.json "it": sum\(nothing_total\)$/)
    const away = await run(['docker/grafana/check.mjs', '--prometheus', 'http://127.0.0.1:1']).catch(error => error)
    t.equal(away.code, 2)
    t.match(away.stderr, 'http://127.0.0.1:1')
  })
}

/**
 * Starts the gateways, their Redis, its exporter if there is one, and a Prometheus that scrapes all
 * of them every second.
 */
async function startWorld(t: Test, program: string) {
  const realNow = Date.now
  let behindMs = BEGAN_MS
  t.intercept(Date, 'now', { value: () => realNow() - behindMs })
  // Redis lives in the same time: the gateway takes its clock.
  const redisTime = async () => [Math.floor(Date.now() / 1000), (Date.now() % 1000) * 1000]
  t.intercept(Redis.prototype, 'time', { value: redisTime as never })
  const redis = await startRedis()
  t.teardown(() => redis.close())
  const client = new Redis(redis.url)
  await client.config('SET', 'maxmemory', LIMIT_BYTES)
  client.disconnect()
  const upstream = await startFakeSegmind()
  t.teardown(() => upstream.close())
  const own = {
    redisUrl: redis.url,
    upstream,
    teams: { vision: {}, budgeted: { budget: { daily: 5, monthly: 50 } } },
    env: { SEGMIND_MAX_CONCURRENCY: '2', CACHE_TTL_SECONDS: '3600' },
  }
  const gateway = await startTestGateway(own)
  t.teardown(gateway.stop)
  await (await gateway.segment({ prompt: 'old' })).arrayBuffer()
  behindMs = 0
  const replica = await startTestGateway({ ...own, keys: gateway.keys })
  t.teardown(replica.stop)
  const jobs = [{ job: 'segmind-gateway', targets: [gateway, replica].map(({ metricsUrl }) => metricsUrl) }]
  const exporter = findRedisExporterOrSkip(t, 'the Redis panels were not tested')
  if (exporter) {
    const exporting = await startRedisExporter(exporter, redis.url)
    t.teardown(exporting.close)
    jobs.push({ job: 'redis', targets: [exporting.url] })
  }
  const prometheus = await startPrometheus(program, {
    global: { scrape_interval: '1s', scrape_timeout: '1s' },
    scrape_configs: jobs.map(({ job, targets }) => ({
      job_name: job,
      static_configs: [{ targets: targets.map(url => new URL(url).host) }],
    })),
  })
  t.teardown(prometheus.close)
  const world: World = { gateway, replica, upstream, redis }
  const targets = jobs.flatMap(job => job.targets).length
  return { world, prometheus: prometheus.url, targets, without: exporter ? [] : ['redis_'] }
}

/** Repeats the check, with load in between, until every query has data or the time is over. */
async function settled(check: Check, options: Parameters<Check['runQueries']>[0], world: World): Promise<Finding[]> {
  const endsAt = performance.now() + DEADLINE_MS
  for (let round = 1; ; round++) {
    await normalTraffic(world, `round ${round}`)
    await uploads(world, round)
    const found = await check.runQueries(options)
    if (performance.now() > endsAt || found.every(({ state }) => state === 'ok')) return found
  }
}

async function instant(prometheus: string, query: string): Promise<{ value: [number, string] }[]> {
  const answer = await fetch(`${prometheus}/api/v1/query?${new URLSearchParams({ query })}`)
  return ((await answer.json()) as { data: { result: { value: [number, string] }[] } }).data.result
}

function run(args: string[]): Promise<{ stdout: string; stderr: string }> {
  return promisify(execFile)(process.execPath, args)
}
