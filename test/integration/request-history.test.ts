import t, { type Test } from 'tap'
import { FAKE_COST, type FakeAnswer, type FakeRow, startFakeSegmind } from '../support/doubles/fake-segmind.js'
import { eventually } from '../support/eventually.js'
import { startTestGateway, type TestGateway } from '../support/gateway/gateway.js'
import { startRedis } from '../support/programs/redis-server.js'

const ADMIN_KEY = 'request-history-admin-key'
const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const TIMES = { everyMs: 30, spacingMs: 0 }
const EXACT: Partial<FakeAnswer> = { cost: 1_580_093 }

interface World {
  gateway: TestGateway
  /** Moves the gateway's clock. */
  later(ms: number): void
}

async function start(t: Test, options: Parameters<typeof startTestGateway>[0] = {}): Promise<World> {
  let skewMs = 0
  const gateway = await startTestGateway({
    historyTimes: TIMES,
    now: () => Date.now() + skewMs,
    ...options,
    env: { ADMIN_KEY, SEGMIND_TIMEOUT_MS: '400', ...options.env },
  })
  t.teardown(() => gateway.stop())
  return {
    gateway,
    later: ms => {
      skewMs += ms
    },
  }
}

async function admin<T>(gateway: TestGateway, path: string): Promise<T> {
  const answer = await gateway.fetch(path, { headers: { 'x-api-key': ADMIN_KEY } })
  return (await answer.json()) as T
}

interface Credits {
  reconciled?: { driftCredits: number }
  events: { kind: string }[]
  history: {
    state: string
    lastError?: { text: string }
    foreign: { model: string; user?: string; credits: number; requestId: string }[]
  }
}

interface Totals {
  chargedCredits: number
  unknownCredits: number
  paidCalls: number
  unknownCalls: number
}

const credits = (gateway: TestGateway) => admin<Credits>(gateway, '/admin/credits')
const totals = async (gateway: TestGateway) => (await admin<{ totals: Totals }>(gateway, '/admin/usage')).totals

function booked(gateway: TestGateway, expected: Partial<Totals>): Promise<unknown> {
  return eventually(`the books do not say ${JSON.stringify(expected)}`, async () => {
    const found = await totals(gateway)
    return Object.entries(expected).every(([name, value]) => found[name as keyof Totals] === value)
  })
}

const isOn = (gateway: TestGateway) =>
  eventually('the history is not on', async () => (await credits(gateway)).history.state === 'on')

/** A response that is cut after its headers, which do not state the cost. */
const CUT: FakeAnswer = { how: 'cut', headers: { 'x-cost': undefined, 'x-remaining-credits': undefined }, ...EXACT }
const late = () => []
const SETTLED = /credits_unknown_settled_total\{team="\w+"\} 0\.002$/m

t.test('a billed timeout is settled exactly, and its picture becomes a hit', async t => {
  const { gateway } = await start(t)
  const { upstream } = gateway
  upstream.script({ how: 'hang', ...EXACT })
  const lost = await gateway.segment({ prompt: 'a secret wish' })
  t.match(await lost.json(), { code: 'upstream_timeout', billed: 'unknown' })
  await booked(gateway, { chargedCredits: 0.001580093, unknownCalls: 0, paidCalls: 1 })
  const hit = await gateway.segment({ prompt: 'a secret wish' })
  t.equal(hit.headers.get('x-cache'), 'HIT')
  t.equal(gateway.upstream.calls.length, 1, 'nothing is bought twice')
  t.match(await gateway.metrics(), /segmind_gateway_request_history_state\{state="on"\} 1/)
  await eventually('the call still counts as unknown', async () => SETTLED.test(await gateway.metrics()))
  const [row] = upstream.rows as (FakeRow & { request_body: { image: string } })[]
  const { image = '' } = row?.request_body ?? {}
  t.ok(image.length > 40)
  t.notOk(gateway.logText().includes(image.slice(0, 40)), 'no input of a request is logged')
  t.notMatch(gateway.logText(), /secret wish/)
})

t.test('a job whose picture was lost is settled by its id and becomes a hit', async t => {
  const { gateway } = await start(t, { env: { SEGMIND_API: 'v2', SEGMIND_TIMEOUT_MS: '1500' } })
  const { upstream } = gateway
  upstream.script({ ...EXACT, job: { polls: Number.POSITIVE_INFINITY } })
  t.match(await (await gateway.segment()).json(), { code: 'upstream_timeout', billed: 'unknown' })
  await booked(gateway, { unknownCalls: 1 })
  upstream.rows.push({
    request_id: 'job-1',
    model_status: 'COMPLETED',
    credits_deduction: 0.0014,
    generation_url: `${upstream.url}/outputs/job-1.jpg`,
  })
  await booked(gateway, { chargedCredits: 0.0014, unknownCalls: 0 })
  t.equal((await gateway.segment()).headers.get('x-cache'), 'HIT')
})

t.test('a picture that is not certainly the own one is not kept', async t => {
  const { gateway } = await start(t)
  const rows = (row: FakeRow) => [{ ...row, request_body: { prompt: 'dog', image: 'https://segmind.invalid/1.jpg' } }]
  gateway.upstream.script({ how: 'hang', ...EXACT, rows })
  await gateway.segment()
  await booked(gateway, { chargedCredits: 0.001580093, unknownCalls: 0 })
  t.same(gateway.upstream.outputs, [])
  t.equal((await gateway.segment()).headers.get('x-cache'), 'MISS')
})

t.test('calls without an id at the same time get their own rows by what was asked', async t => {
  const { gateway } = await start(t, { teams: { vision: {}, mobile: {} } })
  const { upstream } = gateway
  upstream.script(({ fields }) => ({ how: 'hang', cost: fields.prompt === 'cat' ? 1_400_000 : 2_100_000 }))
  await Promise.all([
    gateway.segment({ prompt: 'cat' }, { team: 'vision' }),
    gateway.segment({ prompt: 'dog' }, { team: 'mobile' }),
  ])
  upstream.rows.reverse()
  await booked(gateway, { chargedCredits: 0.0035, unknownCalls: 0 })
  const usage = await admin<{ teams: { team: string; totals: Totals }[] }>(gateway, '/admin/usage')
  const charged = usage.teams.map(({ team, totals: own }) => [team, own.chargedCredits])
  t.same(Object.fromEntries(charged), { vision: 0.0014, mobile: 0.0021 })
  for (const prompt of ['cat', 'dog']) t.equal((await gateway.segment({ prompt })).headers.get('x-cache'), 'HIT')
  t.equal(upstream.calls.length, 2)
})

t.test('a no-store purchase is settled, and its picture is not kept', async t => {
  const { gateway } = await start(t)
  gateway.upstream.script({ how: 'hang', ...EXACT })
  await gateway.segment({ prompt: 'dog' }, { headers: { 'cache-control': 'no-store' } })
  await booked(gateway, { chargedCredits: 0.001580093 })
  t.equal((await gateway.segment({ prompt: 'dog' })).headers.get('x-cache'), 'MISS')
  t.same(gateway.upstream.outputs, [])
})

t.test('a call that was not billed is released by its row', async t => {
  const { gateway } = await start(t)
  gateway.upstream.script({ ...CUT, cost: 0 })
  await gateway.segment({ prompt: 'named' })
  await booked(gateway, { chargedCredits: 0, unknownCalls: 0, paidCalls: 0 })
  await eventually('the call still counts as unknown', async () => SETTLED.test(await gateway.metrics()))
})

t.test('a call without an id that was not billed is released ten minutes later', async t => {
  const { gateway, later } = await start(t)
  gateway.upstream.script({ how: 'hang' })
  await gateway.segment({ prompt: 'nameless' })
  await booked(gateway, { unknownCalls: 1 })
  later(12 * MINUTE_MS)
  await booked(gateway, { chargedCredits: 0, unknownCalls: 0, paidCalls: 0 })
  t.notMatch((await credits(gateway)).events, [{ kind: 'topUp' }])
})

t.test('late, unfinished and doubled rows are waited for and counted once', async t => {
  const { gateway, later } = await start(t)
  const { upstream } = gateway
  let row: FakeRow | undefined
  const hidden = (own: FakeRow) => {
    row = own
    return []
  }
  upstream.script({ ...CUT, rows: hidden })
  await gateway.segment()
  await booked(gateway, { unknownCalls: 1, unknownCredits: 0.002 })
  const asked = upstream.historyCalls.length
  await eventually('it is not looked for again', () => upstream.historyCalls.length > asked + 1)
  upstream.rows.push({ ...(row as FakeRow), model_status: 'PENDING', credits_deduction: null })
  const pending = upstream.historyCalls.length
  await eventually('it is not looked for again', () => upstream.historyCalls.length > pending + 1)
  t.match(await totals(gateway), { unknownCalls: 1 })
  // The balance was compared with the estimate in the meantime, and the call is old.
  later(4 * MINUTE_MS)
  upstream.rows = [row as FakeRow, row as FakeRow]
  await booked(gateway, { chargedCredits: 0.001580093, unknownCalls: 0, paidCalls: 1 })
})

t.test('rows that land after the balance was compared move the drift back', async t => {
  const { gateway, later } = await start(t)
  const { upstream } = gateway
  const hidden: FakeRow[] = []
  const rows = (row: FakeRow) => {
    hidden.push(row)
    return []
  }
  const drift = (expected: number) =>
    eventually(`the drift is not ${expected}`, async () => {
      return (await credits(gateway)).reconciled?.driftCredits === expected
    })
  await gateway.segment({ prompt: 'first' })
  await drift(0)
  upstream.script({ ...CUT, rows }, { ...CUT, rows })
  for (const prompt of ['lost', 'lost too']) await gateway.segment({ prompt })
  later(4 * MINUTE_MS)
  await gateway.segment({ prompt: 'fourth' })
  await drift(-0.000839814)
  upstream.rows.push(...hidden)
  await booked(gateway, { chargedCredits: 0.006560186, unknownCalls: 0 })
  await drift(0)
  await gateway.segment({ prompt: 'fifth' })
  await booked(gateway, { chargedCredits: 0.008260186 })
  await drift(0)
  const { events } = await credits(gateway)
  t.same(
    events.map(({ kind }) => kind),
    ['unknown', 'unknown', 'unknown'],
  )
})

t.test('a call charged by estimate gets its exact cost', async t => {
  const { gateway } = await start(t)
  await gateway.segment({ prompt: 'first' })
  gateway.upstream.script({ ...EXACT, headers: { 'x-cost': undefined, 'x-remaining-credits': undefined } })
  t.equal((await gateway.segment({ prompt: 'second' })).headers.get('x-cost'), '0.002')
  await booked(gateway, { chargedCredits: 0.003280093, paidCalls: 2 })
  const { remaining } = gateway.upstream
  await gateway.segment({ prompt: 'third' })
  t.equal(gateway.upstream.remaining, remaining - FAKE_COST)
  const { reconciled, events } = await eventually('not reconciled', async () => {
    const seen = await credits(gateway)
    return seen.reconciled?.driftCredits === 0 && seen
  })
  t.match(reconciled, { driftCredits: 0 })
  t.same(
    events.filter(({ kind }) => kind === 'topUp' || kind === 'foreign'),
    [],
  )
})

t.test('spending by others is itemised and does not move drift twice', async t => {
  const { gateway, later } = await start(t)
  const { upstream } = gateway
  await gateway.segment({ prompt: 'own' })
  await isOn(gateway)
  upstream.remaining -= 25_000_000
  const at = new Date().toISOString()
  const row = { request_id: 'x1', model_name: 'flux', user_email: 'eve@example.com', model_created: at }
  upstream.rows.push({ ...row, model_status: 'COMPLETED', credits_deduction: 0.025, request_body: { prompt: 'hush' } })
  later(5 * MINUTE_MS)
  await gateway.segment({ prompt: 'own again' })
  const seen = await eventually('it is not listed', async () => {
    later(MINUTE_MS)
    const found = await credits(gateway)
    return found.history.foreign.length > 0 && found
  })
  t.match(seen.history.foreign, [{ requestId: 'x1', model: 'flux', user: 'eve@example.com', credits: 0.025 }])
  t.equal(seen.history.foreign.length, 1)
  t.equal(seen.reconciled?.driftCredits, 0.025)
  t.notMatch(JSON.stringify(seen), /hush/)
})

t.test('a history that refuses is switched off for a day, once, and tried again then', async t => {
  const upstream = await startFakeSegmind()
  t.teardown(() => upstream.close())
  upstream.scriptHistory(...Array.from({ length: 6 }, () => ({ status: 403, body: { error: 'no' } })))
  const { gateway, later } = await start(t, { upstream })
  await eventually('it is not off', async () => {
    later(MINUTE_MS * 4)
    return (await credits(gateway)).history.state === 'off'
  })
  t.equal(upstream.historyCalls.length, 5)
  t.match(await credits(gateway), { history: { lastError: { text: /403/ } } })
  t.match(await gateway.metrics(), /segmind_gateway_request_history_state\{state="off"\} 1/)
  later(23 * HOUR_MS)
  t.match(await credits(gateway), { history: { state: 'off' } })
  t.equal(upstream.historyCalls.length, 5)
  await eventually('it is not on', async () => {
    later(HOUR_MS)
    return (await credits(gateway)).history.state === 'on'
  })
  t.equal(upstream.historyCalls.length, 7)
  t.equal(gateway.log().filter(({ msg }) => /refuses; not used for a day/.test(msg)).length, 1)
})

t.test('an unreachable history is tried again without end', async t => {
  const upstream = await startFakeSegmind()
  const history = await startFakeSegmind({ apiKey: upstream.apiKey })
  t.teardown(() => Promise.all([upstream.close(), history.close()]))
  await history.goOffline()
  const { gateway, later } = await start(t, { upstream, env: { SEGMIND_HISTORY_URL: history.url } })
  for (let hours = 0; hours < 12; hours++) {
    const { lastError } = await eventually('no attempt', async () => {
      const { history: seen } = await credits(gateway)
      return seen.lastError && seen
    })
    t.ok(lastError)
    later(HOUR_MS)
  }
  t.match(await credits(gateway), { history: { state: 'probing' } })
  await history.goOnline()
  await eventually('the history is not on', async () => {
    // An attempt that began before may fail only now, and puts off the next one by an hour.
    later(HOUR_MS)
    return (await credits(gateway)).history.state === 'on'
  })
})

t.test('replicas read the history one at a time, and only while there is something to learn', async t => {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  const { gateway: one } = await start(t, { redisUrl: redis.url })
  const { upstream, keys } = one
  const { gateway: two } = await start(t, { redisUrl: redis.url, upstream, keys })
  await Promise.all([isOn(one), isOn(two)])
  await one.segment({ prompt: 'paid' })
  const asked = upstream.historyCalls.length
  upstream.script({ how: 'hang', ...EXACT })
  await two.segment({ prompt: 'lost' })
  await booked(one, { chargedCredits: 0.003280093, unknownCalls: 0 })
  const learned = [one, two].flatMap(each => each.log()).filter(({ msg }) => /learned the cost/.test(msg))
  t.equal(learned.length, 1)
  t.ok(upstream.historyCalls.length > asked)
  t.equal((await one.segment({ prompt: 'lost' })).headers.get('x-cache'), 'HIT')
})

t.test('with SEGMIND_HISTORY=off nothing is requested', async t => {
  const { gateway } = await start(t, { env: { SEGMIND_HISTORY: 'off' } })
  gateway.upstream.script({ how: 'hang', ...EXACT, rows: late })
  await gateway.segment()
  t.match(await credits(gateway), { history: { state: 'off', foreign: [] } })
  t.same(gateway.upstream.historyCalls, [])
})
