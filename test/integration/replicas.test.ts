import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { stringify } from 'yaml'
import { Secret } from '../../src/config.js'
import type { LedgerEntry } from '../../src/storage.js'
import { openStore } from '../../src/store/open-store.js'
import { createApiKey } from '../../src/teams/api-key.js'
import { type FakeSegmind, startFakeSegmind } from '../support/fake-segmind.js'
import { segmentForm } from '../support/gateway.js'
import { type GatewayProcess, startGatewayProcess } from '../support/gateway-process.js'
import { otherJpeg } from '../support/jpeg.js'
import { startRedis } from '../support/redis-server.js'

interface Replicas {
  gateways: [GatewayProcess, GatewayProcess, GatewayProcess]
  upstream: FakeSegmind
  ask(gateway: GatewayProcess, headers?: Record<string, string>): Promise<Response>
  entries(): Promise<LedgerEntry[]>
}

/** Three gateways as processes of their own over one store, and one Segmind that counts. */
async function startReplicas(t: Test, kind: 'redis' | 'embedded', env: Record<string, string> = {}): Promise<Replicas> {
  const dir = await mkdtemp(join(tmpdir(), 'replicas-test-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const upstream = await startFakeSegmind()
  t.teardown(() => upstream.close())
  const redis = kind === 'redis' ? await startRedis() : undefined
  t.teardown(() => redis?.close())
  const key = createApiKey()
  const teamsFile = join(dir, 'teams.yaml')
  await writeFile(teamsFile, stringify({ teams: [{ id: 'vision', keys: [{ id: key.id, sha256: key.sha256 }] }] }))
  const settings = {
    DATA_DIR: dir,
    TEAMS_FILE: teamsFile,
    SEGMIND_API_KEY: upstream.apiKey,
    SEGMIND_BASE_URL: upstream.url,
    ...(redis ? { REDIS_URL: redis.url } : {}),
    ...env,
  }
  const gateways = (await Promise.all([1, 2, 3].map(() => startGatewayProcess(settings)))) as Replicas['gateways']
  t.teardown(() => Promise.all(gateways.map(gateway => gateway.end('SIGKILL'))))
  const image = await otherJpeg(1)
  return {
    gateways,
    upstream,
    ask: (gateway, headers = {}) =>
      fetch(`${gateway.url}/segment`, {
        method: 'POST',
        body: segmentForm({ prompt: 'dog' }, image),
        headers: { 'x-api-key': key.text, ...headers },
      }),
    async entries() {
      const { store, spool } = await openStore({
        dataDir: dir,
        maxBytes: 64 * 1024 ** 2,
        ...(redis ? { redisUrl: new Secret(redis.url) } : {}),
      })
      const entries = await store.ledger.entries(new Date().toISOString().slice(0, 10))
      await store.close()
      await spool.close()
      return entries
    },
  }
}

const cacheOf = (answers: Response[]) => answers.map(({ headers }) => headers.get('x-cache')).sort()

for (const kind of ['redis', 'embedded'] as const) {
  t.test(`100 identical requests over 3 processes (${kind} store) are one call, and one purchase`, async t => {
    const { gateways, upstream, ask, entries } = await startReplicas(t, kind)
    const held = upstream.hold()
    const asked = Array.from({ length: 100 }, (_, index) => ask(gateways[index % 3] as GatewayProcess))
    await upstream.arrived(1)
    held.open()
    const answers = await Promise.all(asked)
    t.same(new Set(answers.map(({ status }) => status)), new Set([200]))
    const bodies = await Promise.all(
      answers.map(async answer => Buffer.from(await answer.arrayBuffer()).toString('hex')),
    )
    t.equal(new Set(bodies).size, 1)
    t.equal(upstream.calls.length, 1)
    t.equal(cacheOf(answers).filter(cache => cache === 'MISS').length, 1)
    t.equal(answers.filter(({ headers }) => headers.get('x-cost') !== '0').length, 1)
    for (const answer of answers) {
      if (answer.headers.get('x-cache') !== 'COALESCED') continue
      t.equal(answer.headers.get('cache-status'), 'segmind-gateway; fwd=miss; fwd-status=200; stored; collapsed')
    }
    t.match(await entries(), [{ state: 'charged' }])
  })

  t.test(`a process that is killed -9 while it buys (${kind} store) is succeeded by one of the others`, async t => {
    const { gateways, upstream, ask, entries } = await startReplicas(t, kind)
    const [first, ...others] = gateways
    const held = upstream.hold()
    const lost = ask(first)
    await upstream.arrived(1)
    const asked = others.flatMap(gateway => [ask(gateway), ask(gateway), ask(gateway)])
    await Promise.all([first.end('SIGKILL'), t.rejects(lost)])
    await upstream.arrived(2)
    held.open()
    const answers = await Promise.all(asked)
    t.same(cacheOf(answers), ['COALESCED', 'COALESCED', 'COALESCED', 'COALESCED', 'COALESCED', 'MISS'])
    t.equal(upstream.calls.length, 2)
    const booked = (await entries()).sort((one, other) => one.at - other.at)
    t.match(booked, [{ state: 'unknown' }, { state: 'charged', purchase: 'takeover' }])
    t.equal(booked.length, 2)
    const metrics = await Promise.all(
      others.map(async ({ metricsUrl }) => (await fetch(`${metricsUrl}/metrics`)).text()),
    )
    t.match(metrics.join('\n'), /segmind_gateway_flights_total\{role="takeover"\} 1/)
    t.match(metrics.join('\n'), /segmind_gateway_flights_total\{role="follower"\} 1/)
  })
}

t.test('a process that is stopped while it buys finishes, and the others take its answer', async t => {
  const { gateways, upstream, ask } = await startReplicas(t, 'redis')
  const [first, second] = gateways
  const held = upstream.hold()
  const leader = ask(first)
  await upstream.arrived(1)
  const follower = ask(second)
  const ended = first.end('SIGTERM')
  held.open()
  t.match(cacheOf(await Promise.all([leader, follower])), [/COALESCED|HIT/, 'MISS'])
  t.equal(await ended, 0)
  t.equal(upstream.calls.length, 1)
})

t.test(
  'a job that a killed process has submitted is polled by another one, not submitted again (SEGMIND_API=v2)',
  async t => {
    const { gateways, upstream, ask, entries } = await startReplicas(t, 'redis', { SEGMIND_API: 'v2' })
    const [first, second] = gateways
    upstream.script(() => ({ job: { polls: Number.POSITIVE_INFINITY } }))
    const lost = ask(first)
    while (upstream.polls.length === 0) await new Promise(setImmediate)
    const follower = ask(second)
    await Promise.all([first.end('SIGKILL'), t.rejects(lost)])
    const before = upstream.polls.length
    while (upstream.polls.length === before) await new Promise(setImmediate)
    upstream.finishJobs()
    const answer = await follower
    t.equal(answer.headers.get('x-cache'), 'COALESCED')
    t.equal(answer.headers.get('x-cost'), '0', 'whose call it was has paid')
    t.equal(upstream.calls.length, 1)
    t.match(await entries(), [{ state: 'charged', jobId: 'job-1', settled: { cost: 1_700_000 } }])
  },
)

t.test('COALESCE=off: every miss is a call', async t => {
  const { gateways, upstream, ask, entries } = await startReplicas(t, 'redis', { COALESCE: 'off' })
  const held = upstream.hold()
  const asked = gateways.flatMap(gateway => [ask(gateway), ask(gateway)])
  await upstream.arrived(6)
  held.open()
  t.same(cacheOf(await Promise.all(asked)), ['MISS', 'MISS', 'MISS', 'MISS', 'MISS', 'MISS'])
  t.same(new Set((await entries()).map(({ purchase }) => purchase)), new Set(['uncoalesced']))
})

t.test('an Idempotency-Key is bought once, whichever process is asked, and replayed', async t => {
  const { gateways, upstream, ask } = await startReplicas(t, 'redis')
  const [first, second, third] = gateways
  const once = { 'cache-control': 'no-store', 'idempotency-key': '"order-1"' }
  const held = upstream.hold()
  const leader = ask(first, once)
  await upstream.arrived(1)
  const follower = ask(second, once)
  held.open()
  // A follower that comes only when the call has ended is a hit.
  t.match(cacheOf(await Promise.all([leader, follower])), ['BYPASS', /COALESCED|HIT/])
  const replay = await ask(third, once)
  t.match(Object.fromEntries(replay.headers), { 'x-cache': 'HIT', 'x-cost': '0', 'idempotent-replayed': 'true' })
  t.equal(upstream.calls.length, 1)
  await ask(third, { 'cache-control': 'no-store', 'idempotency-key': '"order-2"' })
  t.equal(upstream.calls.length, 2)
})
