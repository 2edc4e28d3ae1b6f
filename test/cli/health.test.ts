import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { run } from '../../src/cli/health.js'
import { recorder } from './recorder.js'

async function serving(
  t: { teardown(clean: () => void): void },
  listener: RequestListener,
  host = '127.0.0.1',
): Promise<string> {
  const server = createServer(listener)
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  await new Promise<void>(resolve => server.listen(0, host, resolve))
  return `${(server.address() as AddressInfo).port}`
}

async function check(env: NodeJS.ProcessEnv, timeoutMs?: number) {
  const io = recorder(env)
  return { code: await run([], io, timeoutMs), out: io.out, err: io.err.join() }
}

t.test('a gateway that responds with 200 is healthy on any address', async t => {
  const paths: (string | undefined)[] = []
  const port = await serving(t, (request, answer) => {
    paths.push(request.url)
    answer.end('{"status":"ok"}')
  })
  for (const HOST of ['', '0.0.0.0', '::', '127.0.0.1', 'localhost']) {
    t.strictSame(await check({ HOST, PORT: port }), { code: 0, out: ['ok'], err: '' }, HOST)
  }
  t.strictSame(paths, Array(5).fill('/healthz'))
})

t.test('a bad response, no response and a refused connection are unhealthy', async t => {
  const failing = await serving(t, (_, answer) => answer.writeHead(503).end())
  t.match(await check({ PORT: failing }), { code: 1, out: [], err: /status 503$/ })
  const moved = await serving(t, (_, answer) => answer.writeHead(302, { location: '/elsewhere' }).end())
  t.match(await check({ PORT: moved }), { code: 1, err: /status 302$/ })
  const silent = await serving(t, () => {})
  t.match(await check({ PORT: silent }, 20), { code: 1, err: /no response within 20 ms$/ })
  const cut = await serving(t, request => request.socket.destroy())
  t.match(await check({ PORT: cut }), { code: 1, err: /ECONNRESET$/ })
  const closed = createServer()
  await new Promise<void>(resolve => closed.listen(0, '127.0.0.1', resolve))
  const { port } = closed.address() as AddressInfo
  await new Promise(resolve => closed.close(resolve))
  t.match(await check({ PORT: `${port}` }), { code: 1, err: /ECONNREFUSED$/ })
})

t.test('only HOST and PORT are read, and PORT must not be 0', async t => {
  await t.rejects(check({ PORT: '0' }), { name: 'UsageError' })
  await t.rejects(check({ PORT: 'x' }), { name: 'SettingsError' })
})
