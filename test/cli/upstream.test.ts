import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { openUpstream } from '../../src/cli/upstream.js'
import { loadSettings } from '../../src/config/index.js'
import { startSandbox } from '../../src/sandbox/server.js'
import { freePort } from '../support/programs/free-port.js'

const production = { NODE_ENV: 'production', TEAMS_FILE: '/teams/teams.yaml' }
const noPatience = 0

async function listening(server: Server): Promise<AddressInfo> {
  if (!server.listening) await new Promise(resolve => server.once('listening', resolve))
  return server.address() as AddressInfo
}

t.test('with a key the upstream is Segmind, also if SANDBOX_URL is set', async t => {
  const settings = loadSettings({
    ...production,
    SEGMIND_API_KEY: 'SG_0123456789abcdef',
    SANDBOX_URL: 'http://sandbox',
  })
  t.match(await openUpstream(settings), { baseUrl: 'https://api.segmind.com', apiKey: 'SG_0123456789abcdef' })
})

t.test('without a key the upstream is the built-in sandbox, which stops with the gateway', async t => {
  const upstream = await openUpstream(loadSettings({}))
  const ask = () => fetch(`${upstream.baseUrl}/v1/get-user-credits`, { headers: { 'x-api-key': upstream.apiKey } })
  t.equal((await ask()).status, 200)
  await upstream.close()
  await t.rejects(ask())
})

t.test('the gateway waits for a separate sandbox to start', async t => {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const opening = openUpstream(loadSettings({ ...production, SANDBOX_URL: url }), 30_000)
  let isOpen = false
  void opening.then(() => {
    isOpen = true
  })
  // Long enough to be refused at least once.
  await new Promise(resolve => setTimeout(resolve, 50))
  t.notOk(isOpen)
  const sandbox = await startSandbox({ host: '127.0.0.1', port, apiKey: 'SG_sandbox' })
  t.teardown(() => sandbox.close())
  const upstream = await opening
  t.match(upstream, { baseUrl: url, apiKey: 'SG_sandbox' })
  await upstream.close()
  const headers = { 'x-api-key': upstream.apiKey }
  t.equal((await fetch(`${url}/v1/get-user-credits`, { headers })).status, 200, 'it is not the gateway that ends it')
})

t.test('a missing sandbox, or one with another key, has an error that says what is missing', async t => {
  const missing = loadSettings({ ...production, SANDBOX_URL: `http://127.0.0.1:${await freePort()}` })
  await t.rejects(openUpstream(missing, noPatience), {
    message: /^SEGMIND_API_KEY .+: ECONNREFUSED\. .+--profile sandbox/,
  })
  const sandbox = await startSandbox({ apiKey: 'SG_another' })
  t.teardown(() => sandbox.close())
  const another = loadSettings({ ...production, SANDBOX_URL: sandbox.url })
  await t.rejects(openUpstream(another, noPatience), { message: /it responded with 401/ })
})

t.test('a server other than a sandbox, or the target of its redirect, receives no pictures', async t => {
  const paths: string[] = []
  const page = createServer(({ url = '' }, answer) => {
    paths.push(url)
    answer.end('<html>')
  }).listen(0, '127.0.0.1')
  const { port } = await listening(page)
  const gone = createServer((_, answer) => {
    answer.writeHead(302, { location: `http://127.0.0.1:${port}/elsewhere` }).end()
  }).listen(0, '127.0.0.1')
  const at = async (server: Server) =>
    loadSettings({ ...production, SANDBOX_URL: `http://127.0.0.1:${(await listening(server)).port}` })
  t.teardown(() => [page, gone].map(server => server.close()))
  await t.rejects(openUpstream(await at(gone), noPatience), { message: /it responded with 302/ })
  t.strictSame(paths, [])
  await t.rejects(openUpstream(await at(page), noPatience), { message: /not a sandbox/ })
})

t.test('an unusable port is reported as the reason', async t => {
  const settings = loadSettings({ ...production, SANDBOX_URL: 'http://127.0.0.1:6000' })
  await t.rejects(openUpstream(settings, noPatience), { message: /bad port/ })
})
