import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import { addRateLimits } from '../../../src/http/server/rate-limits.js'
import { startTestGateway, type TestGateway } from '../../support/gateway/gateway.js'
import { type Answer, ask } from '../../support/gateway/raw-client.js'
import { startRedis } from '../../support/programs/redis-server.js'

const LIMITED = { vision: { limits: { requests_per_minute: 1, reads_per_minute: 3 } }, other: {} }

/** Returns `status remaining` of a response. */
const rateOf = ({ status, headers }: Answer) => `${status} ${headers['x-ratelimit-remaining']}`

async function usage(gateway: TestGateway, key: string, headers: Record<string, string> = {}): Promise<Answer> {
  return ask(`${gateway.url}/usage`, { headers: { 'x-api-key': key, ...headers } })
}

t.test('the rates of a team count every request, whatever its response, and limit no other team', async t => {
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
  const refused = await usage(gateway, key)
  t.equal(rateOf(refused), '429 0')
  t.strictSame(answers.map(rateOf), ['200 2', '400 0', '200 1', '200 0'])
  t.match(answers[0]?.headers, {
    'x-ratelimit-limit': '3',
    'x-ratelimit-reset': /^[56]\d$/,
    'ratelimit-policy': '"reads_per_minute";q=3;w=60',
    ratelimit: /^"reads_per_minute";r=2;t=[56]\d$/,
  })
  t.match(refused.headers, { 'retry-after': /^[56]\d$/, ratelimit: /^"reads_per_minute";r=0;t=/ })
  t.match(refused.json(), {
    code: 'rate_limited',
    retryable: true,
    detail: 'Team vision may send 3 requests a minute that spend nothing (limits.reads_per_minute).',
  })
  t.equal(rateOf(await usage(gateway, gateway.keys.other ?? '')), '200 5999', 'other teams are not limited')
})

t.test('the rate of wrong keys is limited per address, and valid keys from there are not affected', async t => {
  const gateway = await startTestGateway({ env: { TRUST_PROXY: 'loopback', ADMIN_KEY: 'the-operators-own-key' } })
  t.teardown(gateway.stop)
  const from = (address: string) => ({ 'x-forwarded-for': address })
  const attempt = (address: string, key = 'wrong') => usage(gateway, key, from(address))
  const spend = async (address: string) => {
    for (let attempts = 1; attempts <= 30; attempts++) {
      const { status } = await attempt(address)
      if (status !== 401) t.fail(`attempt ${attempts} from ${address} got ${status}`)
    }
  }
  await spend('192.0.2.1')
  const refused = await attempt('192.0.2.1')
  t.match(refused, { status: 429, headers: { 'retry-after': /^\d+$/, 'x-ratelimit-limit': undefined } })
  t.equal(refused.json().code, 'rate_limited')
  t.equal(
    (await ask(`${gateway.url}/admin/x`, { headers: from('192.0.2.1') })).status,
    429,
    'operator routes share the limit',
  )
  t.equal((await attempt('192.0.2.1', gateway.key)).status, 200)
  const operator = { ...from('192.0.2.1'), 'x-api-key': 'the-operators-own-key' }
  t.equal((await ask(`${gateway.url}/admin/x`, { headers: operator })).status, 404)
  t.equal((await attempt('192.0.2.2')).status, 401, 'another address')

  await spend('2001:db8:1:2::1')
  const rows: [what: string, address: string, status: number][] = [
    ['another address in the same /64', '2001:db8:1:2:ffff::9', 429],
    ['another network', '2001:db8:1:3::1', 401],
    ['an IPv4-mapped IPv6 address', '::ffff:192.0.2.1', 429],
    ['a link-local address with its zone', 'fe80::1%eth0', 401],
    ['text other than an address', 'not an address', 401],
    ['a port', '192.0.2.1:5678', 429],
    ['another port, behind another proxy', '192.0.2.1:81, 127.0.0.1:9000', 429],
    ['an IPv6 address with its port', '[2001:db8:1:2::7]:80', 429],
    ['an IPv6 address in brackets', '[2001:db8:1:2::7]', 429],
  ]
  for (const [what, address, status] of rows) t.equal((await attempt(address)).status, status, what)
})

const aRequest = (address: string) => ({ facts: { address }, routeOptions: {} }) as FastifyRequest

t.test('wrong keys from one IPv6 network are counted together, whatever the zone', async t => {
  const names = new Set<string>()
  const { countFailure } = await addRateLimits(Fastify(), {
    async take(name) {
      names.add(name)
      return { sum: 31, endsInMs: 1_500 }
    },
  })
  for (const address of ['fe80::1', 'FE80:0::2%eth0', 'fe80::3%eth0.100'])
    t.same(await countFailure(aRequest(address)), { retryAfterSeconds: 2 }, address)
  t.equal(names.size, 1)
})

t.test('a store that does not respond limits no wrong key', async t => {
  const { countFailure } = await addRateLimits(Fastify(), { take: () => Promise.reject(new Error('down')) })
  t.equal(await countFailure(aRequest('192.0.2.1')), undefined)
})

t.test('an invalid forwarded address is replaced by that of the connection, and is not logged', async t => {
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
    const { status } = await usage(gateway, 'wrong', { 'x-forwarded-for': `invalid ${attempts}` })
    statuses.add(status)
  }
  t.ok(statuses.has(429), 'changing the invalid text does not avoid the limit')
  t.notOk(gateway.logText().includes('xxxx'))
})

t.test('without a trusted proxy the forwarded address is ignored', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const statuses = new Set<number>()
  for (let attempts = 0; attempts < 31; attempts++) {
    const { status } = await usage(gateway, 'wrong', { 'x-forwarded-for': `192.0.2.${attempts}` })
    statuses.add(status)
  }
  t.ok(statuses.has(429))
})

t.test('two gateways on one Redis share the rate, and without Redis no request is limited', async t => {
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
  t.strictSame(answers.map(rateOf), ['200 2', '200 1', '200 0'])
  t.equal((await usage(two, one.key)).status, 429)
  await redis.stop()
  const answer = await two.segment({ prompt: 'dog' })
  t.equal(answer.status, 200)
  t.equal((await two.segment({ prompt: 'dog' })).headers.get('x-cache'), 'HIT')
})
