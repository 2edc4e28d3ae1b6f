import { readFile, writeFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { eventually } from '../support/eventually.js'
import { startTestGateway, type TestGateway, type TestGatewayOptions } from '../support/gateway/gateway.js'
import { startRedis } from '../support/programs/redis-server.js'

const ADMIN_KEY = 'operators-0123456789'
const OPERATOR = { 'x-api-key': ADMIN_KEY, 'x-operator': 'Ada' }

async function open(t: Test, options: TestGatewayOptions = {}): Promise<TestGateway> {
  const gateway = await startTestGateway({
    teams: { vision: {}, labs: { budget: { daily: 1 } } },
    ...options,
    env: { ADMIN_KEY, ...options.env },
  })
  t.teardown(gateway.stop)
  return gateway
}

// biome-ignore lint/suspicious/noExplicitAny: JSON of many forms, which each test checks
type Json = any

async function operate(gateway: TestGateway, method: string, path: string, body?: object) {
  const init = {
    method,
    headers: { ...OPERATOR, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  }
  const answer = await gateway.fetch(`/admin${path}`, init)
  return { status: answer.status, body: (await answer.json()) as Json }
}

async function audited(gateway: TestGateway): Promise<Json[]> {
  return (await operate(gateway, 'GET', '/audit')).body.entries
}

t.test('creating, rotating and revoking a key takes effect at once and is audited', async t => {
  const gateway = await open(t)
  const made = await operate(gateway, 'POST', '/teams/blue/keys', { expires: '90d', note: 'ui', name: 'Blue' })
  t.match(made, { status: 201, body: { team: 'blue', isNewTeam: true, key: /^SG_gw/, id: String, expires: String } })
  const { key, id } = made.body
  t.equal((await gateway.fetch('/usage', { headers: { 'x-api-key': key } })).status, 200, 'at once')

  const rotated = await operate(gateway, 'POST', `/keys/${id}/rotate`, { overlapDays: 1 })
  t.match(rotated, { status: 201, body: { replaces: id, key: /^SG_gw/, team: 'blue' } })
  t.equal((await gateway.fetch('/usage', { headers: { 'x-api-key': key } })).status, 200, 'both work')
  t.match(await operate(gateway, 'DELETE', `/keys/${id}`), { status: 200, body: { state: 'revoked' } })
  t.equal((await gateway.fetch('/usage', { headers: { 'x-api-key': key } })).status, 401)
  t.equal((await gateway.fetch('/usage', { headers: { 'x-api-key': rotated.body.key } })).status, 200)
  t.equal((await operate(gateway, 'DELETE', `/keys/${id}`)).status, 200, 'a second revocation changes nothing')

  const { teams } = (await operate(gateway, 'GET', '/teams')).body
  const blue = teams.find((team: Json) => team.id === 'blue')
  t.match(blue, {
    name: 'Blue',
    keys: [
      { id, state: 'revoked', note: 'ui' },
      { id: rotated.body.id, state: 'active' },
    ],
  })
  t.notMatch(JSON.stringify(teams), /sha256|SG_g/)

  const entries = await audited(gateway)
  t.strictSame(
    entries.map(({ action, subject, name }) => [action, subject, name]),
    [
      ['key.revoked', id, 'Ada'],
      ['key.rotated', id, 'Ada'],
      ['key.created', id, 'Ada'],
    ],
  )
  t.match(entries[0], { by: 'operator', address: '127.0.0.1', at: /Z$/, requestId: String, seq: 3 })
  t.notMatch(
    JSON.stringify(entries) + gateway.logText(),
    key.slice(14),
    'no key appears in the audit log or the process log',
  )
  t.match(await gateway.logged(line => line.msg === 'audit'), { action: 'key.created', operator: 'Ada' })
})

t.test('a budget override replaces the parts it names until it expires', async t => {
  const gateway = await open(t)
  const until = new Date(Date.now() + 3_600_000).toISOString()
  const spend = async () => (await gateway.segment({ prompt: 'dog' }, { team: 'labs' })).status
  await operate(gateway, 'PUT', '/teams/labs/budget/override', { daily: 0, until })
  t.equal(await spend(), 429)
  const response = await operate(gateway, 'PUT', '/teams/labs/budget/override', { daily: '0.5', until })
  t.match(response, { status: 200, body: { team: 'labs', override: { daily: 0.5, until } } })
  t.equal(await spend(), 200)
  const { teams } = (await operate(gateway, 'GET', '/overview')).body
  t.match(
    teams.find((team: Json) => team.id === 'labs'),
    { overriddenUntil: until, budgets: [{ window: 'daily', limitCredits: 0.5 }] },
  )
  t.match(await operate(gateway, 'DELETE', '/teams/labs/budget/override'), { status: 200 })
  t.notMatch(await readFile(gateway.teamsFile, 'utf8'), /override/)
  t.strictSame(
    (await audited(gateway)).map(({ action }) => action),
    ['budget.override.ended', 'budget.overridden', 'budget.overridden'],
  )
})

t.test('a rejected operation reports why, changes nothing and is not audited', async t => {
  const gateway = await open(t)
  const before = await readFile(gateway.teamsFile, 'utf8')
  const until = new Date(Date.now() + 3_600_000).toISOString()
  const rows: [method: string, path: string, body: object | undefined, code: string][] = [
    ['POST', '/teams/Blue!/keys', {}, 'invalid_parameter'],
    ['POST', '/teams/blue/keys', { expires: 'soon' }, 'invalid_parameter'],
    ['POST', '/teams/blue/keys', { note: 'two\nlines' }, 'invalid_parameter'],
    ['POST', '/teams/blue/keys', { test: 'yes' }, 'invalid_parameter'],
    ['POST', '/teams/blue/keys', { admin: true }, 'invalid_request'],
    ['POST', '/teams/blue/keys', [], 'invalid_request'],
    ['POST', '/keys/nothing1/rotate', undefined, 'not_found'],
    ['POST', '/keys/nothing1/rotate', { overlapDays: -1 }, 'invalid_parameter'],
    ['DELETE', '/keys/nothing1', undefined, 'not_found'],
    ['PUT', '/teams/nobody/budget/override', { daily: 1, until }, 'not_found'],
    ['PUT', '/teams/labs/budget/override', { until }, 'invalid_parameter'],
    ['PUT', '/teams/labs/budget/override', { daily: -1, until }, 'invalid_parameter'],
    ['PUT', '/teams/labs/budget/override', { daily: 1 }, 'invalid_parameter'],
    ['PUT', '/teams/labs/budget/override', { daily: 1, until: '2020-01-01T00:00:00Z' }, 'invalid_parameter'],
    ['DELETE', `/cache/results/${'0'.repeat(64)}`, undefined, 'unknown_result'],
    ['DELETE', '/cache/results/x', undefined, 'unknown_result'],
    ['DELETE', '/cache/results', undefined, 'invalid_parameter'],
    ['GET', '/audit?limit=0', undefined, 'invalid_parameter'],
    ['GET', '/audit?page=1', undefined, 'invalid_request'],
    ['GET', '/history?hours=49', undefined, 'invalid_parameter'],
  ]
  for (const [method, path, body, code] of rows)
    t.match((await operate(gateway, method, path, body)).body, { code }, `${method} ${path} ${JSON.stringify(body)}`)
  const garbled = await gateway.fetch('/admin/teams/blue/keys', {
    method: 'POST',
    headers: { ...OPERATOR, 'content-type': 'application/json' },
    body: '{',
  })
  t.match(await garbled.json(), { code: 'invalid_request' })
  const huge = await gateway.fetch('/admin/teams/blue/keys', {
    method: 'POST',
    headers: { ...OPERATOR, 'content-type': 'application/json' },
    body: JSON.stringify({ note: 'x'.repeat(20_000) }),
  })
  t.match(await huge.json(), { code: 'invalid_request' })
  for (const path of ['/overview', '/history', '/events', '/teams', '/cache', '/audit'])
    t.equal((await gateway.fetch(`/admin${path}`)).status, 403, `${path} refuses team keys`)
  t.equal(await readFile(gateway.teamsFile, 'utf8'), before)
  const mistaken = `${before}\nteam: []\n`
  await writeFile(gateway.teamsFile, mistaken)
  const refused = await operate(gateway, 'POST', '/teams/blue/keys', {})
  t.match(refused.body, {
    code: 'store_unavailable',
    retryable: false,
    detail: /teams file was not changed: .*\bteam\b/s,
  })
  t.equal(await readFile(gateway.teamsFile, 'utf8'), mistaken)
  t.strictSame(await audited(gateway), [])
})

t.test('purging a result removes its derived forms, and the next request buys it again', async t => {
  const gateway = await open(t)
  const bought = await gateway.segment({ prompt: 'dog' })
  const id = bought.headers.get('x-result-id') ?? ''
  t.equal((await gateway.segment({ prompt: 'dog' })).headers.get('x-cache'), 'HIT')
  t.match(await operate(gateway, 'DELETE', `/cache/results/${id}`), { status: 200, body: { purged: 1 } })
  t.equal((await gateway.fetch(`/results/${id}`)).status, 404)
  t.equal((await gateway.segment({ prompt: 'dog' })).headers.get('x-cache'), 'MISS')
  await gateway.segment({ prompt: 'cat' })
  const { tiers } = (await operate(gateway, 'GET', '/cache')).body
  t.match(tiers, [{ tier: 'memory', entries: 2, bytes: Number }, { tier: 'store' }])
  t.match(await operate(gateway, 'DELETE', '/cache/results?all=true'), { body: { purged: 2 } })
  t.equal((await gateway.segment({ prompt: 'cat' })).headers.get('x-cache'), 'MISS')
  t.match(await audited(gateway), [
    { action: 'results.purged', subject: 'all' },
    { action: 'result.purged', subject: id },
  ])
})

t.test("a purge in one replica reaches the other's memory tier", async t => {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  const one = await open(t, { redisUrl: redis.url })
  const other = await open(t, { redisUrl: redis.url, keys: one.keys, upstream: one.upstream })
  const id = (await one.segment({ prompt: 'dog' })).headers.get('x-result-id') ?? ''
  t.equal((await other.fetch(`/results/${id}`)).status, 200, 'the other replica holds it in memory')
  await operate(one, 'DELETE', `/cache/results/${id}`)
  await eventually('the purge never reached the other replica', async () => {
    const { status } = await other.fetch(`/results/${id}`)
    return status === 404
  })
  t.match((await operate(other, 'GET', '/audit')).body.entries, [{ action: 'result.purged', subject: id }])
})

t.test('the overview and its event stream follow the traffic', async t => {
  const gateway = await open(t)
  const leaving = new AbortController()
  const stream = await gateway.fetch('/admin/events', { headers: OPERATOR, signal: leaving.signal })
  t.equal(stream.headers.get('content-type'), 'text/event-stream; charset=utf-8')
  const overviews = overviewsIn(stream)
  const first = (await overviews.next()).value
  t.match(first, {
    gateway: { store: 'up', breaker: 'closed', teamsFile: 'ok' },
    teams: [{ id: 'vision' }, { id: 'labs' }],
  })
  await gateway.segment({ prompt: 'dog' })
  await gateway.segment({ prompt: '' })
  const overview = await eventually('the stream never showed the purchase and the error', async () => {
    const { value } = await overviews.next()
    return value.teams[0].today.paidCalls > 0 && value.errors.length > 0 && value
  })
  t.match(overview, {
    credits: { balance: { state: 'fresh' } },
    teams: [
      { id: 'vision', today: { paidCalls: 1, chargedCredits: 0.0017 }, thisMonth: { chargedCredits: 0.0017 } },
      {},
    ],
    errors: [{ code: 'missing_selection', route: '/segment', team: 'vision', status: 400, requestId: String }],
    expiringKeys: [],
  })
  leaving.abort()
})

t.test('a stop ends event streams, and the history continues after a restart', async t => {
  const dataDir = t.testdir()
  const first = await open(t, { dataDir })
  const stream = await first.fetch('/admin/events', { headers: OPERATOR })
  await first.segment({ prompt: 'dog' })
  const ended = stream.text()
  await first.stop()
  t.match(await ended, /event: overview/)
  const second = await open(t, { dataDir, keys: first.keys })
  const { minutes } = (await operate(second, 'GET', '/history?hours=1')).body
  t.match(minutes.at(-1), { spentCredits: 0.0017, teams: { vision: 0.0017 }, answers: { miss: 1 }, p50Ms: Number })
})

t.test('the overview lists problems and keys that expire soon', async t => {
  const gateway = await open(t, { teams: { vision: { budget: { daily: 0.002 } } } })
  await operate(gateway, 'POST', '/teams/vision/keys', { expires: '5d', note: 'short' })
  await gateway.segment({ prompt: 'dog' })
  const body = await eventually('the overview never listed an alert', async () => {
    const overview = await operate(gateway, 'GET', '/overview')
    return overview.body.alerts.length > 0 && overview.body
  })
  t.match(body.alerts, [{ type: 'budget.threshold', text: /Team vision/ }])
  t.match(body.expiringKeys, [{ team: 'vision', note: 'short', expiresAt: /Z$/ }])
})

async function* overviewsIn(stream: Response): AsyncGenerator<Json, Json> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const piece of stream.body as unknown as AsyncIterable<Uint8Array>) {
    text += decoder.decode(piece, { stream: true })
    const events = text.split('\n\n')
    text = events.pop() ?? ''
    for (const event of events) {
      const [, data] = /^event: overview\ndata: (.*)$/.exec(event) ?? []
      if (data) yield JSON.parse(data)
    }
  }
  return undefined
}
