import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Secret } from '../../src/config/index.js'
import type { LedgerEntry } from '../../src/contracts/store.js'
import { openStore } from '../../src/store/open-store.js'
import { otherJpeg } from '../fixtures/jpeg.js'
import { type FakeSegmind, startFakeSegmind } from '../support/doubles/fake-segmind.js'
import { entriesOf } from '../support/entries-of.js'
import { eventually } from '../support/eventually.js'
import { segmentForm } from '../support/gateway/gateway.js'
import { type GatewayProcess, startGatewayProcess } from '../support/gateway/gateway-process.js'
import { writeTeamsFile } from '../support/gateway/teams-file.js'
import { startRedis } from '../support/programs/redis-server.js'

interface Replicas {
  gateways: [GatewayProcess, GatewayProcess, GatewayProcess]
  upstream: FakeSegmind
  ask(gateway: GatewayProcess, headers?: Record<string, string>): Promise<Response>
  /** Starts another test with the same processes: `ask` sends another photo. */
  next(): Promise<void>
  /** Calls and ledger entries since the last `next`, oldest first. */
  calls(): number
  entries(): Promise<LedgerEntry[]>
  /** Resolves once Segmind has received that many calls since the last `next`. */
  arrived(calls: number): Promise<void>
}

interface ReplicaOptions {
  /** Default 3. */
  processes?: number
  env?: Record<string, string>
}

/** Gateway processes over one store, and a Segmind that counts calls. */
async function startReplicas(
  t: Test,
  kind: 'redis' | 'embedded',
  { processes = 3, env = {} }: ReplicaOptions = {},
): Promise<Replicas> {
  const dir = await mkdtemp(join(tmpdir(), 'replicas-test-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const upstream = await startFakeSegmind()
  t.teardown(() => upstream.close())
  const redis = kind === 'redis' ? await startRedis() : undefined
  t.teardown(() => redis?.close())
  const { file: teamsFile, keys } = await writeTeamsFile(dir, { vision: {} })
  const settings = {
    DATA_DIR: dir,
    TEAMS_FILE: teamsFile,
    SEGMIND_API_KEY: upstream.apiKey,
    SEGMIND_BASE_URL: upstream.url,
    ...(redis ? { REDIS_URL: redis.url } : {}),
    ...env,
  }
  const starts = Array.from({ length: processes }, () => startGatewayProcess(settings))
  const gateways = (await Promise.all(starts)) as Replicas['gateways']
  t.teardown(() => Promise.all(gateways.map(gateway => gateway.end('SIGKILL'))))
  let tests = 0
  let image: Buffer = Buffer.alloc(0)
  let callsBefore = 0
  let since = 0
  const replicas: Replicas = {
    gateways,
    upstream,
    async next() {
      image = await otherJpeg(++tests)
      callsBefore = upstream.calls.length
      since = Date.now()
    },
    calls: () => upstream.calls.length - callsBefore,
    arrived: calls => upstream.arrived(callsBefore + calls),
    ask: (gateway, headers = {}) =>
      fetch(`${gateway.url}/segment`, {
        method: 'POST',
        body: segmentForm({ prompt: 'dog' }, image),
        headers: { 'x-api-key': keys.vision, ...headers },
      }),
    async entries() {
      const { store, spool } = await openStore({
        dataDir: dir,
        maxBytes: 64 * 1024 ** 2,
        ...(redis ? { redisUrl: new Secret(redis.url) } : {}),
      })
      const entries = await entriesOf(store.ledger, new Date().toISOString().slice(0, 10))
      await store.close()
      await spool.close()
      return entries.filter(({ at }) => at >= since).sort((one, other) => one.at - other.at)
    },
  }
  await replicas.next()
  return replicas
}

const cacheOf = (answers: Response[]) => answers.map(({ headers }) => headers.get('x-cache')).sort()

const TAKEOVERS = 'segmind_gateway_flights_total{role="takeover"}'
const FOLLOWERS = 'segmind_gateway_flights_total{role="follower"}'

/** Sums a counter of some gateways. */
async function sumOf(gateways: GatewayProcess[], counter: string): Promise<number> {
  const texts = await Promise.all(gateways.map(async ({ metricsUrl }) => (await fetch(`${metricsUrl}/metrics`)).text()))
  const values = texts.flatMap(text => text.split('\n').filter(line => line.startsWith(`${counter} `)))
  return values.reduce((sum, line) => sum + Number(line.slice(counter.length)), 0)
}

async function costsOneCall(t: Test, { gateways, upstream, ask, entries, calls, arrived }: Replicas): Promise<void> {
  const held = upstream.hold()
  const pending = Array.from({ length: 100 }, (_, index) => ask(gateways[index % 3] as GatewayProcess))
  await arrived(1)
  held.open()
  const answers = await Promise.all(pending)
  t.same(new Set(answers.map(({ status }) => status)), new Set([200]))
  const bodies = await Promise.all(answers.map(async answer => Buffer.from(await answer.arrayBuffer()).toString('hex')))
  t.equal(new Set(bodies).size, 1)
  t.equal(calls(), 1)
  t.equal(cacheOf(answers).filter(cache => cache === 'MISS').length, 1)
  t.equal(answers.filter(({ headers }) => headers.get('x-cost') !== '0').length, 1)
  for (const answer of answers) {
    if (answer.headers.get('x-cache') !== 'COALESCED') continue
    t.equal(answer.headers.get('cache-status'), 'segmind-gateway; fwd=miss; fwd-status=200; stored; collapsed')
  }
  t.match(await entries(), [{ state: 'charged' }])
}

async function takesOverFromKilled(t: Test, { gateways, upstream, ask, entries, calls, arrived }: Replicas) {
  const [first, ...others] = gateways
  const takeovers = await sumOf(others, TAKEOVERS)
  const followers = await sumOf(others, FOLLOWERS)
  const held = upstream.hold()
  const lost = ask(first)
  await arrived(1)
  const pending = others.flatMap(gateway => [ask(gateway), ask(gateway), ask(gateway)])
  await Promise.all([first.end('SIGKILL'), t.rejects(lost)])
  await arrived(2)
  held.open()
  const answers = await Promise.all(pending)
  t.same(cacheOf(answers), ['COALESCED', 'COALESCED', 'COALESCED', 'COALESCED', 'COALESCED', 'MISS'])
  t.equal(calls(), 2)
  const booked = await entries()
  t.match(booked, [{ state: 'unknown' }, { state: 'charged', purchase: 'takeover' }])
  t.equal(booked.length, 2)
  t.equal((await sumOf(others, TAKEOVERS)) - takeovers, 1)
  t.equal((await sumOf(others, FOLLOWERS)) - followers, 1)
}

async function replaysOneKey(t: Test, { gateways, upstream, ask, calls, arrived }: Replicas): Promise<void> {
  const [first, second, third] = gateways
  const once = { 'cache-control': 'no-store', 'idempotency-key': '"order-1"' }
  const held = upstream.hold()
  const leader = ask(first, once)
  await arrived(1)
  const follower = ask(second, once)
  held.open()
  // A follower that arrives after the call has ended is a hit.
  t.match(cacheOf(await Promise.all([leader, follower])), ['BYPASS', /COALESCED|HIT/])
  const replay = await ask(third, once)
  t.match(Object.fromEntries(replay.headers), { 'x-cache': 'HIT', 'x-cost': '0', 'idempotent-replayed': 'true' })
  t.equal(calls(), 1)
  await ask(third, { 'cache-control': 'no-store', 'idempotency-key': '"order-2"' })
  t.equal(calls(), 2)
}

async function finishesBeforeItStops(t: Test, { gateways, upstream, ask, calls, arrived }: Replicas): Promise<void> {
  const [, second, third] = gateways
  const held = upstream.hold()
  const leader = ask(second)
  await arrived(1)
  const follower = ask(third)
  const ended = second.end('SIGTERM')
  held.open()
  t.match(cacheOf(await Promise.all([leader, follower])), [/COALESCED|HIT/, 'MISS'])
  t.equal(await ended, 0)
  t.equal(calls(), 1)
}

// The tests of one store share its processes. The last ones end some of them.
for (const kind of ['redis', 'embedded'] as const) {
  t.test(`3 processes over the ${kind} store`, async t => {
    const replicas = await startReplicas(t, kind)
    const test = async (name: string, body: (t: Test, replicas: Replicas) => Promise<void>) => {
      await replicas.next()
      return t.test(name, t => body(t, replicas))
    }
    await test('100 identical requests cost one upstream call', costsOneCall)
    await test('an Idempotency-Key is bought once across processes, then replayed', replaysOneKey)
    await test('another process takes over the purchase of a process killed with -9', takesOverFromKilled)
    await test('a process stopped during a purchase finishes it, and the others use the result', finishesBeforeItStops)
  })
}

t.test('another process polls the job of a killed one and does not submit it again (SEGMIND_API=v2)', async t => {
  const { gateways, upstream, ask, entries, calls } = await startReplicas(t, 'redis', {
    processes: 2,
    env: { SEGMIND_API: 'v2' },
  })
  const [first, second] = gateways
  upstream.script(() => ({ job: { polls: Number.POSITIVE_INFINITY } }))
  const lost = ask(first)
  await eventually('the job was never polled', () => upstream.polls.length > 0)
  const follower = ask(second)
  await Promise.all([first.end('SIGKILL'), t.rejects(lost)])
  const before = upstream.polls.length
  await eventually('no other process polled the job', () => upstream.polls.length > before)
  upstream.finishJobs()
  const answer = await follower
  t.equal(answer.headers.get('x-cache'), 'COALESCED')
  t.equal(answer.headers.get('x-cost'), '0', 'the team of the killed process is charged')
  t.equal(calls(), 1)
  t.match(await entries(), [{ state: 'charged', jobId: 'job-1', settled: { cost: 1_700_000 } }])
})

t.test('with COALESCE=off every miss is a call', async t => {
  const { gateways, upstream, ask, entries, arrived } = await startReplicas(t, 'redis', { env: { COALESCE: 'off' } })
  const held = upstream.hold()
  const pending = gateways.flatMap(gateway => [ask(gateway), ask(gateway)])
  await arrived(6)
  held.open()
  t.same(cacheOf(await Promise.all(pending)), ['MISS', 'MISS', 'MISS', 'MISS', 'MISS', 'MISS'])
  t.same(new Set((await entries()).map(({ purchase }) => purchase)), new Set(['uncoalesced']))
})
