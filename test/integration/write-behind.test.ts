import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { otherJpeg } from '../fixtures/jpeg.js'
import { startFakeSegmind } from '../support/doubles/fake-segmind.js'
import { eventually } from '../support/eventually.js'
import { segmentForm } from '../support/gateway/gateway.js'
import { type GatewayProcess, startGatewayProcess } from '../support/gateway/gateway-process.js'
import { writeTeamsFile } from '../support/gateway/teams-file.js'
import { startRedis } from '../support/programs/redis-server.js'

async function setUp(t: Test) {
  const dir = await mkdtemp(join(tmpdir(), 'write-behind-test-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const upstream = await startFakeSegmind()
  t.teardown(() => upstream.close())
  const redis = await startRedis({ appendonly: true })
  t.teardown(() => redis.close())
  const { file: teamsFile, keys } = await writeTeamsFile(dir, { vision: {} })
  const image = await otherJpeg(1)
  const start = async (name: string) => {
    const gateway = await startGatewayProcess({
      DATA_DIR: join(dir, name),
      TEAMS_FILE: teamsFile,
      SEGMIND_API_KEY: upstream.apiKey,
      SEGMIND_BASE_URL: upstream.url,
      REDIS_URL: redis.url,
    })
    t.teardown(() => gateway.end('SIGKILL'))
    return gateway
  }
  const send = (gateway: GatewayProcess, path: string, init: RequestInit = {}) =>
    fetch(gateway.url + path, { ...init, headers: { 'x-api-key': keys.vision, ...init.headers } })
  const ask = (gateway: GatewayProcess, headers = {}) =>
    send(gateway, '/segment', { method: 'POST', body: segmentForm({ prompt: 'dog' }, image), headers })
  /** Resolves once the metrics of a gateway match. */
  const metricsMatch = (gateway: GatewayProcess, pattern: RegExp) =>
    eventually(`the metrics never matched ${pattern}`, async () =>
      pattern.test(await (await fetch(`${gateway.metricsUrl}/metrics`)).text()),
    )
  /** Buys a result that Redis cannot store, because it is stopped during the call. */
  const buyWithoutRedis = async (gateway: GatewayProcess) => {
    const held = upstream.hold()
    const pending = ask(gateway)
    await upstream.arrived(1)
    await redis.stop()
    held.open()
    t.equal((await pending).headers.get('x-cache'), 'MISS')
    await metricsMatch(gateway, /segmind_gateway_unsaved_results 1/)
  }
  return { redis, upstream, start, ask, send, metricsMatch, buyWithoutRedis }
}

async function charged(send: (path: string) => Promise<Response>): Promise<number> {
  const { totals } = (await (await send('/usage')).json()) as { totals: { chargedCredits: number } }
  return totals.chargedCredits
}

t.test('a paid result that Redis cannot store is booked, and written when Redis is back', async t => {
  const { redis, upstream, start, ask, send, metricsMatch, buyWithoutRedis } = await setUp(t)
  const [one, other] = [await start('one'), await start('other')]
  await buyWithoutRedis(one)
  t.equal((await ask(one)).headers.get('x-cache'), 'HIT', 'its own process holds it')
  await redis.start()
  await metricsMatch(one, /segmind_gateway_unsaved_results 0/)
  await metricsMatch(one, /segmind_gateway_unsaved_ledger_steps 0/)
  t.equal((await ask(other)).headers.get('x-cache'), 'HIT')
  t.equal(upstream.calls.length, 1)
  t.equal(await charged(path => send(other, path)), 0.0017)
})

t.test('SIGTERM waits until Redis stores paid results', async t => {
  const { redis, upstream, start, ask, send, buyWithoutRedis } = await setUp(t)
  const [one, other] = [await start('one'), await start('other')]
  await buyWithoutRedis(one)
  const ended = one.end('SIGTERM')
  await eventually('the stop never waited for the store', () =>
    one.lines.some(line => line.includes('waiting for the store')),
  )
  await redis.start()
  t.equal(await ended, 0)
  t.equal((await ask(other)).headers.get('x-cache'), 'HIT')
  t.equal(upstream.calls.length, 1)
  t.equal(await charged(path => send(other, path)), 0.0017)
})

t.test('a second SIGTERM ends at once and lists lost data; the next start settles the calls', async t => {
  const { redis, start, send, metricsMatch, buyWithoutRedis } = await setUp(t)
  const one = await start('one')
  await buyWithoutRedis(one)
  const ended = one.end('SIGTERM')
  await eventually('the stop never waited for the store', () =>
    one.lines.some(line => line.includes('waiting for the store')),
  )
  one.child.kill('SIGTERM')
  t.equal(await ended, 1)
  const last = one.lines
    .map(line => (line.startsWith('{') ? JSON.parse(line) : {}))
    .find(line => line.signal && line.calls)
  t.match(last, { level: 'error', msg: /second signal.*lost/, calls: [], results: [/^[0-9a-f]{64}$/], ledgerSteps: 0 })
  await redis.start()
  const next = await start('one')
  await metricsMatch(next, /segmind_gateway_unsaved_ledger_steps 0/)
  t.equal(await charged(path => send(next, path)), 0.0017)
})
