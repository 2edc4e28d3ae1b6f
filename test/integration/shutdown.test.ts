import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { otherJpeg } from '../fixtures/jpeg.js'
import { startFakeSegmind } from '../support/doubles/fake-segmind.js'
import { eventually, within } from '../support/eventually.js'
import { segmentForm, startTestGateway } from '../support/gateway/gateway.js'
import { type GatewayProcess, spawnGateway, startGatewayProcess } from '../support/gateway/gateway-process.js'
import { connectTo, ask as read } from '../support/gateway/raw-client.js'
import { writeTeamsFile } from '../support/gateway/teams-file.js'

t.test('SIGTERM waits for a paid call without a client, books and stores it, and exits with 0', async t => {
  const { env, key, upstream } = await setUp(t)
  const gateway = await startGatewayProcess(env)
  const held = upstream.hold()
  const leaving = new AbortController()
  const pending = ask(gateway.url, key, { signal: leaving.signal })
  await upstream.arrived(1)
  leaving.abort()
  await t.rejects(pending)
  const ended = gateway.end('SIGTERM')
  await eventually('the log never reported paid calls in flight', () =>
    gateway.lines.some(line => line.includes('finishing paid calls')),
  )
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

t.test('a stop that times out ends and lists the lost paid calls', async t => {
  const { env, key, upstream } = await setUp(t)
  const gateway = await startGatewayProcess({ ...env, SHUTDOWN_TIMEOUT_MS: '50' })
  upstream.script(() => ({ how: 'hang' }))
  const pending = ask(gateway.url, key).catch(() => undefined)
  await upstream.arrived(1)
  t.equal(await gateway.end('SIGTERM'), 1)
  await pending
  const last = gateway.lines.map(line => (line.startsWith('{') ? JSON.parse(line) : {})).find(({ calls }) => calls)
  t.match(last, {
    level: 'error',
    msg: /gave up waiting.*lost/,
    calls: [{ callId: /^[0-9a-f-]{36}$/, team: 'vision', requestId: /./, resultId: /^[0-9a-f]{64}$/ }],
    results: [],
    ledgerSteps: 0,
  })
})

t.test('for SHUTDOWN_DELAY_MS a gateway is not ready and serves every request', async t => {
  const { env, key, upstream } = await setUp(t)
  const gateway = await startGatewayProcess({ ...env, SHUTDOWN_DELAY_MS: '3000' })
  const client = await connectTo(gateway.url)
  const refused = await connectTo(gateway.url)
  const health = 'GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n'
  client.send(health)
  t.match(await client.until(/"ok"\}$/), /connection: keep-alive/i)
  const held = upstream.hold()
  const pending = ask(gateway.url, key)
  await upstream.arrived(1)
  const ended = gateway.end('SIGTERM')
  await eventually('the gateway was never unready', async () => {
    const { status, body } = await read(`${gateway.url}/readyz`)
    return status === 503 && body.toString().includes('"status":"shutting_down"')
  })
  client.send(health)
  t.match(await client.ended, /\{"status":"ok"\}.*connection: close.*\{"status":"ok"\}$/is)
  refused.send(`POST /segment HTTP/1.1\r\nhost: x\r\nx-api-key: ${key}\r\ncontent-length: 4\r\n\r\nbody`)
  t.match(await within('the connection was kept', refused.ended), /^HTTP\/1.1 415 .*connection: close/is)
  const second = ask(gateway.url, key, { prompt: 'a cat' })
  await upstream.arrived(2)
  held.open()
  for (const response of [await pending, await second]) {
    t.equal(response.status, 200)
    t.equal(response.headers.get('connection'), 'close')
  }
  t.equal(await ended, 0)
  await t.rejects(read(`${gateway.url}/readyz`))
})

t.test('the delay of a stop counts towards its timeout, and a second signal ends it', async t => {
  const { env } = await setUp(t)
  const delayed = { ...env, SHUTDOWN_DELAY_MS: '600000' }
  const hasLogged = (gateway: GatewayProcess) => () => gateway.lines.some(line => line.includes('load balancers'))
  const brief = await startGatewayProcess({ ...delayed, SHUTDOWN_TIMEOUT_MS: '50' })
  t.equal(await within('the delay did not end', brief.end('SIGTERM')), 0)
  const patient = await startGatewayProcess({ ...delayed, SHUTDOWN_TIMEOUT_MS: '600000' })
  patient.child.kill('SIGTERM')
  await eventually('the stop never began', hasLogged(patient))
  t.equal(await within('the second signal was ignored', patient.end('SIGTERM')), 1)
})

t.test('a silent connection does not delay the stop', async t => {
  const { env, key } = await setUp(t)
  const gateway = await startGatewayProcess({ ...env, SHUTDOWN_TIMEOUT_MS: '600000' })
  const idle = connect(Number(new URL(gateway.url).port), '127.0.0.1')
  await once(idle, 'connect')
  const closed = once(idle, 'close')
  // A second connection, so that the first one has certainly been accepted.
  await (await ask(gateway.url, key)).arrayBuffer()
  t.equal(await gateway.end('SIGTERM'), 0)
  await within('the idle connection was never closed', closed)
})

t.test('a second signal ends the process at once', async t => {
  const { env, key, upstream } = await setUp(t)
  const gateway = await startGatewayProcess(env)
  upstream.hold()
  const pending = ask(gateway.url, key).catch(() => undefined)
  await upstream.arrived(1)
  gateway.child.kill('SIGTERM')
  await eventually('the log never reported the stop', () => gateway.lines.some(line => line.includes('"stopping"')))
  t.equal(await gateway.end('SIGTERM'), 1)
  await pending
  t.ok(gateway.lines.some(line => line.includes('second signal')))
})

t.test('a signal ends a gateway that is waiting for its sandbox', async t => {
  const starting = createServer((_, answer) => answer.writeHead(503).end()).listen(0, '127.0.0.1')
  const requested = once(starting, 'request')
  await once(starting, 'listening')
  t.teardown(() => starting.close())
  const { port } = starting.address() as AddressInfo
  const env = { NODE_ENV: 'production', DATA_DIR: t.testdir(), SANDBOX_URL: `http://127.0.0.1:${port}` }
  const gateway = await spawnGateway({ ...env, TEAMS_FILE: join(env.DATA_DIR, 'teams.yaml') })
  await within('the sandbox was never requested', requested)
  t.equal(await gateway.end('SIGTERM'), 0)
})

t.test('a gateway started by npm stops when npm and its shell were stopped', async t => {
  const { env } = await setUp(t)
  const { url, lines, end } = await startGatewayProcess(env, { underNpm: true })
  t.equal((await fetch(`${url}/healthz`)).status, 200)
  await end('SIGTERM')
  await eventually('the gateway outlived npm', () => lines.some(line => line.includes('"msg":"stopped"')))
  await t.rejects(fetch(`${url}/healthz`))
})

t.test('stop closes everything, so that the process can exit', async t => {
  const gateway = await startTestGateway()
  await gateway.segment()
  await Promise.all([gateway.stop(), gateway.stop()])
  await t.rejects(gateway.fetch('/healthz'))
})

t.test('a port in use is reported with its setting', async t => {
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
  const { file: teamsFile, keys } = await writeTeamsFile(dir, { vision: {} })
  const env = { DATA_DIR: dir, TEAMS_FILE: teamsFile, SEGMIND_API_KEY: upstream.apiKey, SEGMIND_BASE_URL: upstream.url }
  return { env, key: keys.vision, upstream }
}

interface Ask {
  prompt?: string
  signal?: AbortSignal
}

async function ask(url: string, key: string, { prompt = 'dog', signal }: Ask = {}): Promise<Response> {
  const body = segmentForm({ prompt }, await otherJpeg(1))
  return fetch(`${url}/segment`, { method: 'POST', body, headers: { 'x-api-key': key }, signal: signal ?? null })
}

/** Waits for an output of another process. */
