import t, { type Test } from 'tap'
import { otherJpeg } from '../fixtures/jpeg.js'
import { type FakeSegmind, startFakeSegmind } from '../support/doubles/fake-segmind.js'
import { eventually } from '../support/eventually.js'
import { segmentForm, startTestGateway, type TestGateway } from '../support/gateway/gateway.js'
import type { TeamFields } from '../support/gateway/teams-file.js'
import { startRedis } from '../support/programs/redis-server.js'

const redis = await startRedis()
t.teardown(() => redis.close())

interface Replicas {
  gateways: TestGateway[]
  upstream: FakeSegmind
}

/** Gateways over one Redis and one Segmind, with the same teams. */
async function startReplicas(
  t: Test,
  { count = 2, env = {}, teams }: { count?: number; env?: Record<string, string>; teams?: Record<string, TeamFields> },
): Promise<Replicas> {
  const upstream = await startFakeSegmind()
  t.teardown(() => upstream.close())
  await redis.flush()
  const gateways: TestGateway[] = []
  for (let index = 0; index < count; index++) {
    const gateway = await startTestGateway({
      upstream,
      redisUrl: redis.url,
      env,
      ...(teams && { teams }),
      ...(gateways[0] && { keys: gateways[0].keys }),
    })
    t.teardown(gateway.stop)
    gateways.push(gateway)
  }
  return { gateways, upstream }
}

/** Sends a batch of selections that nothing else buys. */
async function sendBatch(gateway: TestGateway, name: string, selections: number, team?: string): Promise<string> {
  const prompts = Array.from({ length: selections }, (_, index) => ({ prompt: `${name} ${index}` }))
  const body = segmentForm({ selections: JSON.stringify(prompts) }, await otherJpeg(1))
  const headers = { accept: 'application/x-ndjson', ...(team && { 'x-api-key': gateway.keys[team] ?? '' }) }
  const answer = await gateway.fetch('/segment/batch', { method: 'POST', body, headers })
  return answer.text()
}

t.test('three replicas have as many calls at Segmind as one, and a team its own limit', async t => {
  const { gateways, upstream } = await startReplicas(t, {
    count: 3,
    env: { SEGMIND_MAX_CONCURRENCY: '4' },
    teams: { vision: {}, labs: { limits: { concurrent: 2 } } },
  })
  const held = upstream.hold()
  const ask = (team: string, each: number) =>
    gateways.flatMap((gateway, replica) =>
      Array.from({ length: each }, (_, index) => gateway.segment({ prompt: `${team} ${replica} ${index}` }, { team })),
    )
  const limited = ask('labs', 3)
  await upstream.arrived(2)
  const others = ask('vision', 3)
  await upstream.arrived(4)
  const depths = async () =>
    (await Promise.all(gateways.map(gateway => gateway.metrics()))).flatMap(text =>
      [...text.matchAll(/^segmind_gateway_queue_depth\{.*\} (\d+)/gm)].map(([, depth]) => Number(depth)),
    )
  await eventually('the rest never waited', async () => (await depths()).reduce((sum, depth) => sum + depth, 0) === 14)
  held.open()
  const answers = await Promise.all([...limited, ...others])
  t.same(new Set(answers.map(({ status }) => status)), new Set([200]))
  t.equal(upstream.peakInFlight, 4)
  t.equal(upstream.calls.length, 18)
})

t.test('clicks of one team are answered while another team floods the queue of two replicas', async t => {
  const { gateways, upstream } = await startReplicas(t, {
    env: { SEGMIND_MAX_CONCURRENCY: '4', QUEUE_MAX: '40' },
    teams: { batches: { limits: { requests_per_minute: 100_000 } }, clicks: {} },
  })
  const held = upstream.hold()
  const flood = Array.from({ length: 20 }, (_, index) =>
    sendBatch(gateways[index % 2] as TestGateway, `batch ${index}`, 10, 'batches'),
  )
  await upstream.arrived(4)
  await eventually('the queue never filled', async () => {
    const texts = await Promise.all(gateways.map(gateway => gateway.metrics()))
    const waiting = texts.flatMap(text => [...text.matchAll(/^segmind_gateway_queue_depth\{team="batches"\} (\d+)/gm)])
    return waiting.reduce((sum, [, depth]) => sum + Number(depth), 0) >= 40
  })
  const clicks = Array.from({ length: 12 }, (_, index) =>
    gateways[index % 2]?.segment({ prompt: `click ${index}` }, { team: 'clicks' }),
  )
  held.open()
  const statuses = (await Promise.all(clicks)).map(answer => answer?.status)
  t.same(statuses, Array(12).fill(200))
  const before = upstream.calls.findLastIndex(({ fields }) => `${fields.prompt}`.startsWith('click'))
  // Each click may wait for one call of the other team in each slot, and one that was just granted.
  t.ok(before < 4 + 12 * 2 + 8, `the last click was call ${before}`)
  await Promise.all(flood)
  t.equal(upstream.peakInFlight, 4)
})

t.test('requests whose callers left while they waited are not bought', async t => {
  const { gateways, upstream } = await startReplicas(t, { env: { SEGMIND_MAX_CONCURRENCY: '1' } })
  const [one, other] = gateways as [TestGateway, TestGateway]
  const held = upstream.hold()
  const first = one.segment({ prompt: 'first' })
  await upstream.arrived(1)
  const leaving = new AbortController()
  const gone = Array.from({ length: 50 }, (_, index) =>
    one.segment({ prompt: `gone ${index}` }, { signal: leaving.signal }).catch(() => undefined),
  )
  const asked = await one.segment({ prompt: 'later' }, { headers: { prefer: 'respond-async' } })
  t.equal(asked.status, 202)
  await eventually('they never waited', async () => /queue_depth\{team="vision"\} 51/.test(await one.metrics()))
  // Callers of another process, and of this one, that wait for the same results.
  const elsewhere = other.segment({ prompt: 'gone 0' })
  const here = one.segment({ prompt: 'gone 1' })
  await eventually('the other process never followed', async () =>
    /role="follower"|"leader"/.test(await other.metrics()),
  )
  leaving.abort()
  await Promise.all(gone)
  await eventually('the queue never emptied', async () =>
    /queue_depth\{team="vision"\} [1-3]\n/.test(await one.metrics()),
  )
  held.open()
  t.equal((await first).status, 200)
  t.equal((await here).status, 200)
  t.equal((await elsewhere).status, 200)
  await eventually('the result was never bought', async () => {
    const answer = await one.fetch(asked.headers.get('location') ?? '')
    return answer.status === 200
  })
  t.same(upstream.calls.map(({ fields }) => fields.prompt).sort(), ['first', 'gone 0', 'gone 1', 'later'])
  const { totals } = (await (await one.fetch('/usage')).json()) as { totals: Record<string, number> }
  t.match(totals, { paidCalls: 4, unknownCalls: 0 })
})

t.test('callers get an error at once and few calls are sent while Segmind limits the rate for long', async t => {
  const { gateways, upstream } = await startReplicas(t, {})
  upstream.script(() => ({ status: 429, body: '', headers: { 'retry-after': '60' } }))
  const answers = await Promise.all([1, 2, 3].map(index => gateways[index % 2]?.segment({ prompt: `dog ${index}` })))
  for (const answer of answers) {
    t.match(await answer?.json(), { code: 'upstream_busy', billed: 'no', retryable: true })
    t.ok(Number(answer?.headers.get('retry-after')) >= 25)
  }
  t.ok(upstream.calls.length <= 3)
  const later = await gateways[0]?.segment({ prompt: 'a cat' })
  t.match(await later?.json(), { code: 'upstream_busy' }, 'no replica sends calls in the pause')
  t.ok(upstream.calls.length <= 3)
})

t.test('a call that Segmind refused once is sent again by the process that reserved it', async t => {
  const { gateways, upstream } = await startReplicas(t, {})
  upstream.script({ status: 429, body: '', headers: { 'retry-after': '1' } })
  const answer = await gateways[0]?.segment({ prompt: 'dog' })
  t.equal(answer?.status, 200)
  t.equal(upstream.calls.length, 2)
  t.match(await gateways[0]?.metrics(), /upstream_retries_total\{why="busy"\} 1/)
})

t.test('a queued request that responds asynchronously, and a quote, tell position and wait', async t => {
  const { gateways, upstream } = await startReplicas(t, { env: { SEGMIND_MAX_CONCURRENCY: '1' } })
  const [one, other] = gateways as [TestGateway, TestGateway]
  t.equal((await one.segment({ prompt: 'measure' })).status, 200)
  const held = upstream.hold()
  const first = one.segment({ prompt: 'first' })
  await upstream.arrived(2)
  const asked = await one.segment({ prompt: 'later' }, { headers: { prefer: 'respond-async' } })
  t.match(await asked.json(), { status: 'running', queue: { position: 1, waitSeconds: Number } })
  t.match(await (await one.fetch(asked.headers.get('location') ?? '')).json(), { queue: { position: 1 } })
  const body = segmentForm({ prompt: 'third' }, await otherJpeg(1))
  const quoted = await other.fetch('/segment/quote', { method: 'POST', body })
  t.match(await quoted.json(), { queue: { depth: 1, position: 2, waitSeconds: Number } })
  held.open()
  t.equal((await first).status, 200)
})

t.test('a batch waits for clicks of its team, and X-Priority: batch for those', async t => {
  const { gateways, upstream } = await startReplicas(t, { count: 1, env: { SEGMIND_MAX_CONCURRENCY: '1' } })
  const [one] = gateways as [TestGateway]
  const held = upstream.hold()
  const waiting = [one.segment({ prompt: 'first' })]
  await upstream.arrived(1)
  const queued = (count: number) =>
    eventually('it never waited', async () =>
      new RegExp(`queue_depth\\{team="vision"\\} ${count}`).test(await one.metrics()),
    )
  const batch = sendBatch(one, 'batch', 1)
  await queued(1)
  waiting.push(one.segment({ prompt: 'low' }, { headers: { 'x-priority': 'batch' } }))
  await queued(2)
  waiting.push(one.segment({ prompt: 'click' }))
  await queued(3)
  held.open()
  await Promise.all([...waiting, batch])
  t.same(
    upstream.calls.map(({ fields }) => fields.prompt),
    ['first', 'click', 'batch 0', 'low'],
  )
})
