import t from 'tap'
import { startTestGateway, type TestGateway } from '../support/gateway.js'
import { type Answer, ask } from '../support/raw-client.js'
import { startRedis } from '../support/redis-server.js'

const LIMITED = { vision: { limits: { requests_per_minute: 3 } }, other: {} }

/** What an answer says about the rate: `status remaining`. */
const said = ({ status, headers }: Answer) => `${status} ${headers['x-ratelimit-remaining']}`

async function usage(gateway: TestGateway, key: string, headers: Record<string, string> = {}): Promise<Answer> {
  return ask(`${gateway.url}/usage`, { headers: { 'x-api-key': key, ...headers } })
}

t.test('a team may ask so often in a minute, whatever it asks and with whichever answer', async t => {
  const gateway = await startTestGateway({ teams: LIMITED })
  t.teardown(gateway.stop)
  const { key } = gateway
  const headers = { 'x-api-key': key, 'content-type': 'application/json' }
  const answers = [
    await usage(gateway, key),
    await ask(`${gateway.url}/segment`, { method: 'POST', headers, body: '{' }),
    await usage(gateway, key),
    await usage(gateway, key),
  ]
  t.strictSame(answers.map(said), ['200 2', '400 1', '200 0', '429 0'])
  t.match(answers[0]?.headers, {
    'x-ratelimit-limit': '3',
    'x-ratelimit-reset': /^[56]\d$/,
    'ratelimit-policy': '"team";q=3;w=60',
    ratelimit: /^"team";r=2;t=[56]\d$/,
  })
  t.match(answers[3]?.headers, { 'retry-after': /^[56]\d$/, ratelimit: /^"team";r=0;t=/ })
  t.match(answers[3]?.json(), {
    code: 'rate_limited',
    retryable: true,
    detail: 'Team vision may send 3 requests a minute.',
  })
  t.equal(said(await usage(gateway, gateway.keys.other ?? '')), '200 599', 'the others are not held up')
})

t.test('an address may present so many wrong keys in a minute; good keys are never held up by that', async t => {
  const gateway = await startTestGateway({ env: { TRUST_PROXY: 'loopback', ADMIN_KEY: 'the-operators-own-key' } })
  t.teardown(gateway.stop)
  const from = (address: string) => ({ 'x-forwarded-for': address })
  const attempt = (address: string, key = 'wrong') => usage(gateway, key, from(address))
  const spend = async (address: string) => {
    for (let attempts = 1; attempts <= 30; attempts++) {
      const { status } = await attempt(address)
      if (status !== 401) t.fail(`attempt ${attempts} from ${address} was answered with ${status}`)
    }
  }
  await spend('192.0.2.1')
  const refused = await attempt('192.0.2.1')
  t.match(refused, { status: 429, headers: { 'retry-after': /^\d+$/, 'x-ratelimit-limit': undefined } })
  t.equal(refused.json().code, 'rate_limited')
  t.equal((await ask(`${gateway.url}/admin/x`, { headers: from('192.0.2.1') })).status, 429, 'at every door')
  t.equal((await attempt('192.0.2.1', gateway.key)).status, 200)
  const operator = { ...from('192.0.2.1'), 'x-api-key': 'the-operators-own-key' }
  t.equal((await ask(`${gateway.url}/admin/x`, { headers: operator })).status, 404)
  t.equal((await attempt('192.0.2.2')).status, 401, 'another address')

  await spend('2001:db8:1:2::1')
  const rows: [what: string, address: string, status: number][] = [
    ['the neighbour', '2001:db8:1:2:ffff::9', 429],
    ['another network', '2001:db8:1:3::1', 401],
    ['an IPv4 address in the dress of IPv6', '::ffff:192.0.2.1', 429],
    ['a link-local address with its zone', 'fe80::1%eth0', 401],
    ['what is no address', 'nobody knows', 401],
    ['a port', '192.0.2.1:5678', 429],
    ['another port, behind another proxy', '192.0.2.1:81, 127.0.0.1:9000', 429],
    ['an IPv6 address with its port', '[2001:db8:1:2::7]:80', 429],
    ['an IPv6 address in brackets', '[2001:db8:1:2::7]', 429],
  ]
  for (const [what, address, status] of rows) t.equal((await attempt(address)).status, status, what)
})

t.test('what a proxy forwards that is no address counts for the connection, and never gets into the log', async t => {
  const gateway = await startTestGateway({ env: { TRUST_PROXY: '1' } })
  t.teardown(gateway.stop)
  const rows: [forwarded: string, address: string][] = [
    ['192.0.2.7:5678', '192.0.2.7'],
    ['[2001:db8::1]:80', '2001:db8::1'],
    [`fe80::1%${'x'.repeat(5000)}`, 'fe80::1'],
    ['x'.repeat(5000), '127.0.0.1'],
    ['unknown', '127.0.0.1'],
    ['192.0.2.7:', '127.0.0.1'],
    [' , ,', '127.0.0.1'],
    ['', '127.0.0.1'],
  ]
  for (const [index, [forwarded, address]] of rows.entries()) {
    await usage(gateway, 'wrong', { 'x-forwarded-for': forwarded, 'x-request-id': `row/${index}` })
    const line = await gateway.logged(({ requestId }) => requestId === `row/${index}`)
    t.equal(line.address, address, forwarded.slice(0, 40))
  }
  const statuses = new Set<number>()
  for (let attempts = 0; attempts < 31; attempts++) {
    const { status } = await usage(gateway, 'wrong', { 'x-forwarded-for': `nobody ${attempts}` })
    statuses.add(status)
  }
  t.ok(statuses.has(429), 'another word every time is no way around the limit')
  t.notOk(gateway.logText().includes('xxxx'))
})

t.test('without a trusted proxy nobody chooses the address', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const statuses = new Set<number>()
  for (let attempts = 0; attempts < 31; attempts++) {
    const { status } = await usage(gateway, 'wrong', { 'x-forwarded-for': `192.0.2.${attempts}` })
    statuses.add(status)
  }
  t.ok(statuses.has(429))
})

t.test('two gateways on one Redis share the rate; without an answer from Redis nobody is held up', async t => {
  const redis = await startRedis()
  t.teardown(redis.close)
  const one = await startTestGateway({ redisUrl: redis.url, teams: LIMITED })
  const { upstream, keys } = one
  const two = await startTestGateway({ redisUrl: redis.url, teams: LIMITED, upstream, keys })
  t.teardown(async () => {
    await two.stop()
    await one.stop()
  })
  const answers = [await usage(one, one.key), await usage(two, one.key), await usage(one, one.key)]
  t.strictSame(answers.map(said), ['200 2', '200 1', '200 0'])
  t.equal((await usage(two, one.key)).status, 429)
  await redis.stop()
  const answer = await two.segment({ prompt: 'dog' })
  t.equal(answer.status, 200)
  t.equal((await two.segment({ prompt: 'dog' })).headers.get('x-cache'), 'HIT')
})
