import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { createApiKey } from '../../src/teams/api-key.js'
import { startFakeSegmind } from '../support/fake-segmind.js'
import { segmentForm, startTestGateway } from '../support/gateway.js'
import { spawnGateway, startGatewayProcess } from '../support/gateway-process.js'
import { otherJpeg } from '../support/jpeg.js'

t.test('SIGTERM waits for a paid call whose client has left, books and keeps it, and ends with 0', async t => {
  const { env, key, upstream } = await setUp(t)
  const gateway = await startGatewayProcess(env)
  const held = upstream.hold()
  const leaving = new AbortController()
  const asked = ask(gateway.url, key, leaving.signal)
  await upstream.arrived(1)
  leaving.abort()
  await t.rejects(asked)
  const ended = gateway.end('SIGTERM')
  await until(() => gateway.lines.some(line => line.includes('finishing paid calls')))
  const refused = await fetch(`${gateway.url}/readyz`)
  t.equal(refused.status, 503)
  t.match(await refused.json(), { status: 'draining' })
  const late = await ask(gateway.url, key)
  t.equal(late.status, 503)
  t.match(await late.json(), { code: 'shutting_down', retryable: true })
  held.open()
  t.equal(await ended, 0)

  const again = await startGatewayProcess(env)
  t.teardown(() => again.end('SIGKILL'))
  t.equal((await ask(again.url, key)).headers.get('x-cache'), 'HIT')
  t.equal(upstream.calls.length, 1)
})

t.test('a stop that takes too long ends all the same and names the paid calls that were lost', async t => {
  const { env, key, upstream } = await setUp(t)
  const gateway = await startGatewayProcess({ ...env, SHUTDOWN_TIMEOUT_MS: '50' })
  upstream.script(() => ({ how: 'hang' }))
  const asked = ask(gateway.url, key).catch(() => undefined)
  await upstream.arrived(1)
  t.equal(await gateway.end('SIGTERM'), 1)
  await asked
  const last = gateway.lines.map(line => (line.startsWith('{') ? JSON.parse(line) : {})).find(({ calls }) => calls)
  t.match(last, {
    level: 'error',
    msg: /gave up waiting.*lost/,
    calls: [{ callId: /^[0-9a-f-]{36}$/, team: 'vision', requestId: /./, resultId: /^[0-9a-f]{64}$/ }],
    results: [],
    ledgerSteps: 0,
  })
})

t.test('a connection over which nothing was ever sent is not waited for', async t => {
  const { env, key } = await setUp(t)
  const gateway = await startGatewayProcess({ ...env, SHUTDOWN_TIMEOUT_MS: '600000' })
  const idle = connect(Number(new URL(gateway.url).port), '127.0.0.1')
  await once(idle, 'connect')
  const closed = once(idle, 'close')
  // Another one, so that the first has surely been accepted.
  await (await ask(gateway.url, key)).arrayBuffer()
  t.equal(await gateway.end('SIGTERM'), 0)
  await closed
})

t.test('a second signal ends it at once', async t => {
  const { env, key, upstream } = await setUp(t)
  const gateway = await startGatewayProcess(env)
  upstream.hold()
  const asked = ask(gateway.url, key).catch(() => undefined)
  await upstream.arrived(1)
  gateway.child.kill('SIGTERM')
  await until(() => gateway.lines.some(line => line.includes('"stopping"')))
  t.equal(await gateway.end('SIGTERM'), 1)
  await asked
  t.ok(gateway.lines.some(line => line.includes('second signal')))
})

t.test('a signal ends a gateway that still waits for its sandbox', async t => {
  const starting = createServer((_, answer) => answer.writeHead(503).end()).listen(0, '127.0.0.1')
  const asked = once(starting, 'request')
  await once(starting, 'listening')
  t.teardown(() => starting.close())
  const { port } = starting.address() as AddressInfo
  const env = { NODE_ENV: 'production', DATA_DIR: t.testdir(), SANDBOX_URL: `http://127.0.0.1:${port}` }
  const { child, exited } = spawnGateway({ ...env, TEAMS_FILE: join(env.DATA_DIR, 'teams.yaml') })
  await asked
  child.kill('SIGTERM')
  t.strictSame((await exited)[0], 0)
})

t.test('stop closes everything: the process of a test that stops its gateway ends by itself', async t => {
  const gateway = await startTestGateway()
  await gateway.segment()
  await Promise.all([gateway.stop(), gateway.stop()])
  await t.rejects(gateway.fetch('/healthz'))
})

t.test('a port that is in use is named, with the setting that chooses it', async t => {
  const { env, upstream } = await setUp(t)
  const port = new URL(upstream.url).port
  await t.rejects(startGatewayProcess({ ...env, PORT: port }), { message: new RegExp(`PORT ${port} is in use`) })
  await t.rejects(startGatewayProcess({ ...env, METRICS_PORT: port }), {
    message: new RegExp(`METRICS_PORT ${port} is in use`),
  })
})

async function setUp(t: { testdir(): string; teardown(fn: () => unknown): void }) {
  const upstream = await startFakeSegmind()
  t.teardown(() => upstream.close())
  const dir = t.testdir()
  const key = createApiKey()
  const teamsFile = join(dir, 'teams.yaml')
  await writeFile(teamsFile, stringify({ teams: [{ id: 'vision', keys: [{ id: key.id, sha256: key.sha256 }] }] }))
  const env = { DATA_DIR: dir, TEAMS_FILE: teamsFile, SEGMIND_API_KEY: upstream.apiKey, SEGMIND_BASE_URL: upstream.url }
  return { env, key: key.text, upstream }
}

async function ask(url: string, key: string, signal?: AbortSignal): Promise<Response> {
  const body = segmentForm({ prompt: 'dog' }, await otherJpeg(1))
  return fetch(`${url}/segment`, { method: 'POST', body, headers: { 'x-api-key': key }, signal: signal ?? null })
}

/** Waits for what another process says. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise(resolve => setTimeout(resolve, 10))
}
