import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { stringify } from 'yaml'
import { createApiKey } from '../../src/teams/api-key.js'
import { startFakeSegmind } from '../support/fake-segmind.js'
import { segmentForm } from '../support/gateway.js'
import { type GatewayProcess, startGatewayProcess } from '../support/gateway-process.js'
import { otherJpeg } from '../support/jpeg.js'
import { startRedis } from '../support/redis-server.js'

async function setUp(t: Test) {
  const dir = await mkdtemp(join(tmpdir(), 'write-behind-test-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const upstream = await startFakeSegmind()
  t.teardown(() => upstream.close())
  const redis = await startRedis({ appendonly: true })
  t.teardown(() => redis.close())
  const key = createApiKey()
  const teamsFile = join(dir, 'teams.yaml')
  await writeFile(teamsFile, stringify({ teams: [{ id: 'vision', keys: [{ id: key.id, sha256: key.sha256 }] }] }))
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
    fetch(gateway.url + path, { ...init, headers: { 'x-api-key': key.text, ...init.headers } })
  const ask = (gateway: GatewayProcess, headers = {}) =>
    send(gateway, '/segment', { method: 'POST', body: segmentForm({ prompt: 'dog' }, image), headers })
  /** Resolves when the metrics of a gateway show that. */
  const shows = async (gateway: GatewayProcess, what: RegExp) => {
    for (;;) if (what.test(await (await fetch(`${gateway.metricsUrl}/metrics`)).text())) return
  }
  /** Buys an answer that Redis cannot take: it is gone when the call has begun. */
  const buyWithoutRedis = async (gateway: GatewayProcess) => {
    const held = upstream.hold()
    const asked = ask(gateway)
    await upstream.arrived(1)
    await redis.stop()
    held.open()
    t.equal((await asked).headers.get('x-cache'), 'MISS')
    await shows(gateway, /segmind_gateway_unsaved_results 1/)
  }
  return { redis, upstream, start, ask, send, shows, buyWithoutRedis }
}

async function charged(send: (path: string) => Promise<Response>): Promise<number> {
  const { totals } = (await (await send('/usage')).json()) as { totals: { chargedCredits: number } }
  return totals.chargedCredits
}

t.test('a paid answer that Redis cannot take is written when it is back, and booked', async t => {
  const { redis, upstream, start, ask, send, shows, buyWithoutRedis } = await setUp(t)
  const [one, other] = [await start('one'), await start('other')]
  await buyWithoutRedis(one)
  t.equal((await ask(one)).headers.get('x-cache'), 'HIT', 'its own process has it')
  await redis.start()
  await shows(one, /segmind_gateway_unsaved_results 0/)
  await shows(one, /segmind_gateway_unsaved_ledger_steps 0/)
  t.equal((await ask(other)).headers.get('x-cache'), 'HIT')
  t.equal(upstream.calls.length, 1)
  t.equal(await charged(path => send(other, path)), 0.0017)
})

t.test('SIGTERM waits for Redis to take what was paid for', async t => {
  const { redis, upstream, start, ask, send, buyWithoutRedis } = await setUp(t)
  const [one, other] = [await start('one'), await start('other')]
  await buyWithoutRedis(one)
  const ended = one.end('SIGTERM')
  while (!one.lines.some(line => line.includes('waiting for the store'))) await new Promise(setImmediate)
  await redis.start()
  t.equal(await ended, 0)
  t.equal((await ask(other)).headers.get('x-cache'), 'HIT')
  t.equal(upstream.calls.length, 1)
  t.equal(await charged(path => send(other, path)), 0.0017)
})

t.test('a second SIGTERM ends it at once and names what that loses; the books find it at the next start', async t => {
  const { redis, start, send, shows, buyWithoutRedis } = await setUp(t)
  const one = await start('one')
  await buyWithoutRedis(one)
  const ended = one.end('SIGTERM')
  while (!one.lines.some(line => line.includes('waiting for the store'))) await new Promise(setImmediate)
  one.child.kill('SIGTERM')
  t.equal(await ended, 1)
  const last = one.lines
    .map(line => (line.startsWith('{') ? JSON.parse(line) : {}))
    .find(line => line.signal && line.calls)
  t.match(last, { level: 'error', msg: /second signal.*lost/, calls: [], results: [/^[0-9a-f]{64}$/], ledgerSteps: 0 })
  await redis.start()
  const next = await start('one')
  await shows(next, /segmind_gateway_unsaved_ledger_steps 0/)
  t.equal(await charged(path => send(next, path)), 0.0017)
})
