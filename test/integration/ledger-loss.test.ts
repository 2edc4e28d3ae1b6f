import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import * as ledgerCommand from '../../src/cli/ledger.js'
import { openStore } from '../../src/store/open-store.js'
import { recorder } from '../cli/recorder.js'
import { eventually } from '../support/eventually.js'
import { startTestGateway, type TestGateway, type TestGatewayOptions } from '../support/gateway/gateway.js'
import { type RedisServer, startRedis } from '../support/programs/redis-server.js'

const TEAMS = { free: {}, budgeted: { budget: { daily: 5 } } }

async function setUp(t: Test, options: Partial<TestGatewayOptions> = {}) {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  const admin = new Redis(redis.url, { retryStrategy: () => 50 }).on('error', () => undefined)
  t.teardown(() => admin.disconnect())
  const dataDir = join(t.testdir({ first: {}, second: {} }), 'first')
  const start = async (changes: Partial<TestGatewayOptions> = {}) => {
    const gateway = await startTestGateway({ redisUrl: redis.url, teams: TEAMS, dataDir, ...options, ...changes })
    t.teardown(gateway.stop)
    return gateway
  }
  return { redis, admin, dataDir, start }
}

async function answerOf(answer: Promise<Response>): Promise<string> {
  const response = await answer
  if (response.status === 200) return `200 ${response.headers.get('x-cache')}`
  const { code, detail } = (await response.json()) as { code: string; detail: string }
  return `${response.status} ${code}: ${detail}`
}

async function ledgerOf(gateway: TestGateway): Promise<string> {
  const { checks } = (await (await gateway.fetch('/readyz')).json()) as { checks: { ledger: string } }
  return checks.ledger
}

const becomes = (gateway: TestGateway, state: string) =>
  eventually(`the ledger never became ${state}`, async () => (await ledgerOf(gateway)) === state)

async function command(redis: RedisServer, dataDir: string, verb: string) {
  const io = recorder({ REDIS_URL: redis.url, DATA_DIR: dataDir, SEGMIND_API_KEY: 'x' })
  const code = await ledgerCommand.run([verb], io, async ({ store }) => (await openStore(store)).store)
  return { code, out: io.out, err: io.err }
}

const buy = (gateway: TestGateway, prompt: string, team: string) => answerOf(gateway.segment({ prompt }, { team }))
const LOST = /^503 store_unavailable: .*the ledger was lost or rolled back.*`segmind-gateway ledger accept`/

t.test('FLUSHALL closes every budget at the next reservation, in every replica, until it is accepted', async t => {
  const { redis, admin, dataDir, start } = await setUp(t)
  const one = await start()
  const keys = { keys: one.keys, upstream: one.upstream }
  t.equal(await buy(one, 'first', 'budgeted'), '200 MISS')
  t.equal(await ledgerOf(one), 'ok')
  await admin.flushall()
  t.match(await buy(one, 'second', 'budgeted'), LOST)
  t.equal(await buy(one, 'third', 'free'), '200 MISS', 'a team without a budget continues')
  t.equal(await ledgerOf(one), 'lost')
  t.match(await one.metrics(), /segmind_gateway_ledger_state\{state="lost"\} 1/)
  await one.logged(({ level, ledger }) => level === 'error' && ledger === 'lost')

  // A replica without a memory of the ledger.
  const two = await start({ ...keys, dataDir: join(t.testdirName, 'second') })
  t.equal(await ledgerOf(two), 'lost')
  t.match(await buy(two, 'fourth', 'budgeted'), LOST)

  t.match(await command(redis, dataDir, 'verify'), { code: 1, out: [/^epoch/, /lost: replaced/] })
  const { code, out, err } = await command(redis, dataDir, 'accept')
  t.equal(code, 0)
  t.match(out, [/^reason: replaced$/, /^before: epoch .*, sequence 2, /, /^now: {4}epoch .* 1 call for 0\.0/])
  t.match(err, [/accepted/])
  t.match(await command(redis, dataDir, 'verify'), { code: 0, out: [/^epoch/, /^ok: 1 day in 1 month$/] })
  t.match(await command(redis, dataDir, 'accept'), { code: 0, out: [/nothing to accept/] })
  await Promise.all([becomes(one, 'ok'), becomes(two, 'ok')])
  t.equal(await buy(one, 'fifth', 'budgeted'), '200 MISS')
  t.equal(await buy(two, 'sixth', 'budgeted'), '200 MISS')
})

t.test('BUDGET_FAIL=open lets teams with a budget continue and books their calls', async t => {
  const { admin, start } = await setUp(t, { env: { BUDGET_FAIL: 'open' } })
  const gateway = await start()
  t.equal(await buy(gateway, 'first', 'budgeted'), '200 MISS')
  await admin.flushall()
  t.equal(await buy(gateway, 'second', 'budgeted'), '200 MISS')
  t.equal(await ledgerOf(gateway), 'lost')
  const headers = { 'x-api-key': gateway.keys.budgeted ?? '' }
  const usage = (await (await gateway.fetch('/usage', { headers })).json()) as object
  t.match(usage, { totals: { paidCalls: 1 } }, 'the second call is booked, the first was lost')
})

t.test('a gateway that was stopped while Redis lost its data remembers the ledger', async t => {
  const { redis, dataDir, start } = await setUp(t)
  const first = await start()
  t.equal(await buy(first, 'first', 'budgeted'), '200 MISS')
  await first.stop()
  await redis.stop()
  await redis.start()
  const second = await start({ keys: first.keys })
  t.equal(await ledgerOf(second), 'lost')
  t.match(await buy(second, 'second', 'budgeted'), LOST)
  t.equal((await command(redis, dataDir, 'accept')).code, 0)
  await becomes(second, 'ok')
  await second.stop()
  writeFileSync(join(dataDir, 'ledger-witness.json'), 'damaged')
  t.equal(await ledgerOf(await start({ keys: first.keys })), 'ok', 'a damaged file counts as none')
})

t.test('a Redis that may evict the ledger closes budgets until its policy is corrected', async t => {
  const { admin, start } = await setUp(t)
  await admin.config('SET', 'maxmemory', 100_000_000, 'maxmemory-policy', 'allkeys-lru')
  const gateway = await start()
  t.equal(await ledgerOf(gateway), 'evictable')
  t.match(await buy(gateway, 'first', 'budgeted'), /^503 store_unavailable: .*Redis may evict the ledger/)
  t.equal(await buy(gateway, 'second', 'free'), '200 MISS')
  t.match(await gateway.metrics(), /segmind_gateway_ledger_state\{state="evictable"\} 1/)
  await gateway.logged(({ level, ledger }) => level === 'error' && ledger === 'evictable')
  await admin.config('SET', 'maxmemory-policy', 'volatile-lru')
  await becomes(gateway, 'ok')
  t.equal(await buy(gateway, 'third', 'budgeted'), '200 MISS')
})

t.test('a ledger of which a part was evicted closes budgets', async t => {
  const { admin, start } = await setUp(t)
  const gateway = await start()
  t.equal(await buy(gateway, 'first', 'budgeted'), '200 MISS')
  await admin.del(await admin.keys('*ledger*:totals:*'))
  t.match(await buy(gateway, 'second', 'budgeted'), LOST)
  t.equal(await ledgerOf(gateway), 'lost')
})
