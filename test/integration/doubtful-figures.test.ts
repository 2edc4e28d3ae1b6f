import t, { type Test } from 'tap'
import { type FakeAnswer, startFakeSegmind } from '../support/doubles/fake-segmind.js'
import { eventually } from '../support/eventually.js'
import { startTestGateway, type TestGateway } from '../support/gateway/gateway.js'
import { startRedis } from '../support/programs/redis-server.js'

const ADMIN_KEY = 'doubtful-figures-admin-key'
const HOUR_MS = 3_600_000

interface Event {
  kind: string
  credits: number
  implausible?: { figure: string; claimedCredits: number; expectedCredits: number }
}

async function start(t: Test, options: Parameters<typeof startTestGateway>[0] = {}): Promise<TestGateway> {
  const gateway = await startTestGateway({ ...options, env: { ADMIN_KEY, ...options.env } })
  t.teardown(() => gateway.stop())
  return gateway
}

async function admin<T>(gateway: TestGateway, path: string): Promise<T> {
  const answer = await gateway.fetch(path, { headers: { 'x-api-key': ADMIN_KEY } })
  return (await answer.json()) as T
}

interface Credits {
  balance: { credits: number }
  creditState?: { name: string }
  reconciled?: { driftCredits: number; topUpCredits: number }
  events: Event[]
}

const credits = (gateway: TestGateway) => admin<Credits>(gateway, '/admin/credits')

/** Buys one result, and returns its answer. */
let bought = 0
function buy(gateway: TestGateway, answer: FakeAnswer = {}, options: { team?: string; image?: Buffer } = {}) {
  gateway.upstream.script(answer)
  return gateway.segment({ prompt: `thing ${bought++}` }, options)
}

t.test('a cost that nothing explains is booked by the estimate and locks no team out', async t => {
  const gateway = await start(t, { teams: { vision: { budget: { daily: 5 } } } })
  t.equal((await buy(gateway)).status, 200)
  const odd = await buy(gateway, { headers: { 'x-cost': '17' } })
  t.equal(odd.status, 200)
  t.equal(odd.headers.get('x-cost'), '0.002', 'the estimate is charged')
  const usage = await admin<{ totals: { chargedCredits: number } }>(gateway, '/admin/usage')
  t.equal(usage.totals.chargedCredits, 0.0037)
  t.equal((await buy(gateway)).status, 200, 'the team may spend')
  const events = await eventually('the figure was not recorded', async () => {
    const found = (await credits(gateway)).events.filter(({ kind }) => kind === 'implausible')
    return found.length > 0 && found
  })
  t.match(events, [{ implausible: { figure: 'cost', claimedCredits: 17, expectedCredits: 0.002 } }])
  t.match(await gateway.metrics(), /_implausible_figures_total\{figure="cost"\} 1$/m)
  t.match(await credits(gateway), { reconciled: { topUpCredits: 0 } })
})

t.test('a high cost that the balance shows as well is believed', async t => {
  const gateway = await start(t)
  t.equal((await buy(gateway)).status, 200)
  const dear = await buy(gateway, { cost: 500_000_000 })
  t.equal(dear.headers.get('x-cost'), '0.5')
  t.match(await gateway.metrics(), /_implausible_figures_total\{figure="cost"\} 0$/m)
})

t.test('one wrong balance moves neither balance nor drift, and is an event with both figures', async t => {
  for (const claimed of ['47.65', '0.001', '-3']) {
    const gateway = await start(t, { env: { RESERVE_CREDITS: '1' } })
    t.equal((await buy(gateway)).status, 200)
    const odd = await buy(gateway, { headers: { 'x-remaining-credits': claimed } })
    t.equal(odd.status, 200)
    t.equal((await buy(gateway)).status, 200, 'purchases go on')
    const after = await eventually('the figure was not recorded', async () => {
      const found = await credits(gateway)
      return found.events.some(({ kind }) => kind === 'implausible') && found
    })
    t.match(after.events, [{ implausible: { figure: 'balance', claimedCredits: Number(claimed) } }], claimed)
    t.equal(after.events.length, 1)
    t.match(after, { creditState: { name: 'normal' }, reconciled: { driftCredits: 0, topUpCredits: 0 } })
    const { remaining } = gateway.upstream
    await eventually('the balance is wrong', async () => (await credits(gateway)).balance.credits === remaining / 1e9)
  }
})

t.test('admission and the state that is shown follow one rule', async t => {
  const upstream = await startFakeSegmind()
  t.teardown(() => upstream.close())
  upstream.remaining = 1_050_000_000
  const gateway = await start(t, {
    upstream,
    env: { RESERVE_CREDITS: '1', PRICE_ESTIMATE_CREDITS: '0.1' },
    teams: { vision: {}, safety: { protected: true } },
  })
  // The balance is above the reserve, but not by the estimate of a call.
  await eventually('the balance is not known', async () => (await credits(gateway)).creditState)
  const refused = await buy(gateway)
  t.equal(refused.status, 503)
  t.match(await refused.json(), { code: 'credits_reserved' })
  t.match(await credits(gateway), { creditState: { name: 'reserve' } })
  const ready = (await (await gateway.fetch('/readyz')).json()) as { checks: { credits: string } }
  t.equal(ready.checks.credits, 'reserve')
  t.match(await gateway.metrics(), /^segmind_credit_state\{state="reserve"\} 1$/m)
  t.equal((await buy(gateway, {}, { team: 'safety' })).status, 200)
})

t.test('a refusal that the balance does not explain concerns one team and size', async t => {
  const gateway = await start(t, { teams: { vision: {}, mobile: {} } })
  const refused = await buy(gateway, { status: 406, body: { error: 'Insufficient credits' } })
  t.equal(refused.status, 503)
  t.match(await refused.json(), { code: 'credits_exhausted', billed: 'no', detail: /spend limit/ })
  const calls = gateway.upstream.calls.length
  t.equal((await gateway.segment({ prompt: 'again' })).status, 503)
  t.equal(gateway.upstream.calls.length, calls, 'it is not tried again at once')
  t.equal((await buy(gateway, {}, { team: 'mobile' })).status, 200)
  t.match(await credits(gateway), { creditState: { name: 'normal' } })
})

t.test('replicas with clocks an hour apart agree on an empty account and on its end', async t => {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  const one = await start(t, { redisUrl: redis.url, now: () => Date.now() + HOUR_MS })
  const { upstream, keys } = one
  const two = await start(t, { redisUrl: redis.url, upstream, keys })
  t.equal((await buy(one)).status, 200)
  t.equal((await buy(two)).status, 200)
  upstream.remaining = 0
  t.equal((await buy(one, { status: 406, body: { error: 'Insufficient credits' } })).status, 503)
  await eventually('the other replica does not know', async () => (await credits(two)).creditState?.name === 'empty')
  upstream.remaining = 5_000_000_000
  for (const gateway of [one, two])
    await eventually('credits are back', async () => (await credits(gateway)).creditState?.name === 'normal')
  t.equal((await buy(two)).status, 200)
  t.equal((await buy(one)).status, 200)
})
