import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { openUpstream } from '../../src/cli/upstream.js'
import { loadSettings } from '../../src/config.js'
import { startSandbox } from '../../src/sandbox/server.js'
import { freePort } from '../support/free-port.js'

const production = { NODE_ENV: 'production', TEAMS_FILE: '/teams/teams.yaml' }
const noPatience = 0

async function listening(server: Server): Promise<AddressInfo> {
  if (!server.listening) await new Promise(resolve => server.once('listening', resolve))
  return server.address() as AddressInfo
}

t.test('with a key it is Segmind, whatever sandbox there may be', async t => {
  const settings = loadSettings({
    ...production,
    SEGMIND_API_KEY: 'SG_0123456789abcdef',
    SANDBOX_URL: 'http://sandbox',
  })
  t.match(await openUpstream(settings), { baseUrl: 'https://api.segmind.com', apiKey: 'SG_0123456789abcdef' })
})

t.test('without one the built-in sandbox, which ends with the gateway', async t => {
  const upstream = await openUpstream(loadSettings({}))
  const ask = () => fetch(`${upstream.baseUrl}/v1/get-user-credits`, { headers: { 'x-api-key': upstream.apiKey } })
  t.equal((await ask()).status, 200)
  await upstream.close()
  await t.rejects(ask())
})

t.test('a sandbox that runs apart is waited for while it starts', async t => {
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

t.test('no sandbox, or one with another key: told what is missing', async t => {
  const nobody = loadSettings({ ...production, SANDBOX_URL: `http://127.0.0.1:${await freePort()}` })
  await t.rejects(openUpstream(nobody, noPatience), {
    message: /^There is no SEGMIND_API_KEY .+: ECONNREFUSED\. .+--profile sandbox/,
  })
  const sandbox = await startSandbox({ apiKey: 'SG_another' })
  t.teardown(() => sandbox.close())
  const another = loadSettings({ ...production, SANDBOX_URL: sandbox.url })
  await t.rejects(openUpstream(another, noPatience), { message: /it answered 401/ })
})

t.test('what is no sandbox gets no pictures, nor does whoever it names', async t => {
  const asked: string[] = []
  const page = createServer(({ url = '' }, answer) => {
    asked.push(url)
    answer.end('<html>')
  }).listen(0, '127.0.0.1')
  const { port } = await listening(page)
  const gone = createServer((_, answer) => {
    answer.writeHead(302, { location: `http://127.0.0.1:${port}/elsewhere` }).end()
  }).listen(0, '127.0.0.1')
  const at = async (server: Server) =>
    loadSettings({ ...production, SANDBOX_URL: `http://127.0.0.1:${(await listening(server)).port}` })
  t.teardown(() => [page, gone].map(server => server.close()))
  await t.rejects(openUpstream(await at(gone), noPatience), { message: /it answered 302/ })
  t.strictSame(asked, [])
  await t.rejects(openUpstream(await at(page), noPatience), { message: /no sandbox/ })
})

t.test('a port that cannot be asked is named as the reason', async t => {
  const settings = loadSettings({ ...production, SANDBOX_URL: 'http://127.0.0.1:6000' })
  await t.rejects(openUpstream(settings, noPatience), { message: /bad port/ })
})
