import t from 'tap'
import { otherJpeg } from '../fixtures/jpeg.js'
import { eventually } from '../support/eventually.js'
import { startTestGateway, type TestGateway } from '../support/gateway/gateway.js'

interface Item {
  index: number
  id?: string
  status: number
  cache?: string
  costCredits: number
  resultId?: string
  image?: string
  problem?: { code: string }
}

const photo = await otherJpeg(3)

function batch(gateway: TestGateway, selections: object[], init: RequestInit = {}): Promise<Response> {
  const form = new FormData()
  form.set('selections', JSON.stringify(selections))
  form.set('image', new Blob([new Uint8Array(photo)]), 'photo.jpg')
  const headers = { accept: 'application/x-ndjson', ...init.headers }
  return gateway.fetch('/segment/batch', { method: 'POST', body: form, ...init, headers })
}

async function itemsOf(answer: Response): Promise<Item[]> {
  return (await answer.text())
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
}

const points = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => {
    const place = from + index
    return { id: `p${place}`, coordinates: [[place % 16, Math.floor(place / 16)]] }
  })

t.test('a batch of 100 with 60 cached results buys 40 and returns the cached ones first', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const gate = gateway.upstream.hold()
  const buying = batch(gateway, points(0, 60))
  await gateway.upstream.arrived(8)
  gate.open()
  const first = await itemsOf(await buying)
  t.equal(first.length, 60)
  t.equal(gateway.upstream.calls.length, 60)
  t.equal(gateway.upstream.peakInFlight, 8, 'a few at a time')
  const answer = await batch(gateway, points(0, 100).reverse())
  t.match(answer.headers.get('content-type'), /^application\/x-ndjson/)
  const items = await itemsOf(answer)
  t.equal(gateway.upstream.calls.length, 100)
  t.strictSame(
    items.map(({ cache }) => cache),
    [...Array(60).fill('hit'), ...Array(40).fill('miss')],
  )
  t.strictSame(new Set(items.map(({ id }) => id)).size, 100)
  const spent = items.reduce((sum, { costCredits }) => sum + costCredits, 0)
  t.equal(spent.toFixed(6), (40 * 0.0017).toFixed(6))
  const usage = await (await gateway.fetch('/usage')).json()
  t.match(usage, { totals: { paidCalls: 100, hits: 60 } })
  const found = await gateway.fetch(`/results/${items[0]?.resultId}`)
  t.equal(
    Buffer.from(await found.arrayBuffer()).toString('base64'),
    items[0]?.image,
    'each selection has its own result',
  )
})

t.test('a batch with one upload hashes the image once', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  await itemsOf(await batch(gateway, points(0, 5)))
  const uploaded = Number(/upload_bytes_total\{team="vision"\} (\d+)/.exec(await gateway.metrics())?.[1])
  t.ok(uploaded < photo.length + 1_000)
})

t.test('an exhausted budget stops only the selections it cannot pay for', async t => {
  const gateway = await startTestGateway({
    env: { PRICE_ESTIMATE_CREDITS: '0.0017', SEGMIND_MAX_CONCURRENCY: '1' },
    teams: { vision: { budget: { daily: 0.0035 } } },
  })
  t.teardown(gateway.stop)
  const items = await itemsOf(await batch(gateway, points(0, 5)))
  t.strictSame(
    items.map(({ status, problem }) => problem?.code ?? status),
    [200, 200, 'budget_exhausted', 'budget_exhausted', 'budget_exhausted'],
  )
  t.equal(gateway.upstream.calls.length, 2)
})

const ADMIN_KEY = 'an-operators-key'

/** Resolves with the explanation of a request, which is written after the response. */
async function explanationsOf(gateway: TestGateway, requestId: string): Promise<object[]> {
  return eventually('the request was never explained', async () => {
    const answer = await gateway.fetch(`/admin/requests/${requestId}`, { headers: { 'x-api-key': ADMIN_KEY } })
    const { explanations } = (await answer.json()) as { explanations?: object[] }
    return explanations
  })
}

t.test('each selection is logged, counted and explained like a request', async t => {
  const gateway = await startTestGateway({ env: { ADMIN_KEY, SEGMIND_MAX_CONCURRENCY: '1' } })
  t.teardown(gateway.stop)
  await itemsOf(await batch(gateway, points(0, 1)))
  gateway.upstream.script({}, { status: 422, body: Buffer.from('{"error":"no"}') })
  const headers = { 'x-request-id': 'a-batch' }
  await itemsOf(await batch(gateway, [...points(0, 3), { prompt: '' }], { headers }))

  t.match(await explanationsOf(gateway, 'a-batch.1'), [
    {
      requestId: 'a-batch.1',
      route: '/segment/batch',
      team: 'vision',
      status: 200,
      chargedCredits: 0.0017,
      question: { params: { coordinates: [[1, 0]] } },
      cache: { how: 'miss', looks: [{ found: 'nothing' }] },
      flight: { role: 'leader' },
      call: { outcome: 'charged' },
    },
  ])
  t.match(await explanationsOf(gateway, 'a-batch.0'), [{ cache: { how: 'hit' }, chargedCredits: 0 }])
  t.match(await explanationsOf(gateway, 'a-batch.2'), [{ status: 422, code: 'upstream_rejected' }])
  t.match(await explanationsOf(gateway, 'a-batch.3'), [{ status: 400, code: 'missing_selection' }])

  const metrics = await gateway.metrics()
  t.match(metrics, 'segmind_gateway_errors_total{route="/segment/batch",code="missing_selection"} 1')
  t.match(metrics, 'segmind_gateway_errors_total{route="/segment/batch",code="upstream_rejected"} 1')
  t.notMatch(metrics, /errors_total\{[^}]*code="not_cached"\} [1-9]/, 'a required purchase is not an error')
  t.match(metrics, 'segmind_gateway_requests_total{route="/segment/batch",team="vision",code="200"} 2')
  const overview = await gateway.fetch('/admin/overview', { headers: { 'x-api-key': ADMIN_KEY } })
  const { errors } = (await overview.json()) as { errors: { requestId: string }[] }
  t.match(
    errors.filter(({ requestId }) => requestId.startsWith('a-batch')),
    [
      { requestId: 'a-batch.2', code: 'upstream_rejected' },
      { requestId: 'a-batch.3', code: 'missing_selection' },
    ],
  )
  const lines = gateway.log().filter(({ msg, requestId }) => msg === 'selection' && requestId === 'a-batch')
  t.match(
    lines.sort((one, other) => Number(one.selection) - Number(other.selection)),
    [
      { selection: 0, status: 200, cache: 'hit', cost: '0', resultId: /^[0-9a-f]{64}$/ },
      { selection: 1, status: 200, cache: 'miss', cost: '0.0017' },
      { selection: 2, status: 422, code: 'upstream_rejected' },
      { selection: 3, status: 400, code: 'missing_selection' },
    ],
  )
})

t.test('selections of a test key leave no explanation', async t => {
  const gateway = await startTestGateway({ env: { ADMIN_KEY } })
  t.teardown(gateway.stop)
  const asTest = { 'x-api-key': gateway.testKey, 'x-request-id': 'made-up' }
  t.match(await itemsOf(await batch(gateway, points(0, 1), { headers: asTest })), [{ status: 200 }])
  await itemsOf(await batch(gateway, points(0, 1), { headers: { 'x-request-id': 'real' } }))
  t.equal((await explanationsOf(gateway, 'real.0')).length, 1)
  const { status } = await gateway.fetch('/admin/requests/made-up.0', { headers: { 'x-api-key': ADMIN_KEY } })
  t.equal(status, 404)
})

t.test('a multipart/mixed response has one part per selection', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const answer = await batch(gateway, [{ id: 'ä', prompt: 'dog' }, { prompt: '' }], { headers: { accept: '*/*' } })
  const [, boundary = ''] = /^multipart\/mixed; boundary=(.+)$/.exec(answer.headers.get('content-type') ?? '') ?? []
  const parts = Buffer.from(await answer.arrayBuffer())
    .toString('latin1')
    .split(`--${boundary}`)
  t.equal(parts[0], '')
  t.equal(parts.at(-1), '--\r\n')
  const read = parts.slice(1, -1).map(part => {
    const [head = '', ...rest] = part.replace(/^\r\n/, '').replace(/\r\n$/, '').split('\r\n\r\n')
    const headers = Object.fromEntries(
      head.split('\r\n').map(line => line.toLowerCase().split(': ') as [string, string]),
    )
    return { headers, body: rest.join('\r\n\r\n') }
  })
  const [failed, found] = read
  t.match(failed?.headers, { 'x-index': '1', 'x-status': '400', 'content-type': 'application/problem+json' })
  t.match(JSON.parse(failed?.body ?? ''), { code: 'missing_selection' })
  t.match(found?.headers, { 'x-index': '0', 'x-status': '200', 'x-cache': 'miss', 'content-type': 'image/jpeg' })
  t.equal(decodeURIComponent(found?.headers['x-selection-id'] ?? ''), 'ä')
  t.equal(found?.body.length, Number(found?.headers['content-length']))
})

t.test('items arrive as they complete, and no selection starts after the caller has left', async t => {
  const gateway = await startTestGateway({ env: { SEGMIND_MAX_CONCURRENCY: '2' } })
  t.teardown(gateway.stop)
  await itemsOf(await batch(gateway, points(0, 1)))
  const gate = gateway.upstream.hold()
  const leaving = new AbortController()
  const answer = await batch(gateway, points(0, 20), { signal: leaving.signal })
  const reader = answer.body?.getReader()
  const { value } = (await reader?.read()) ?? {}
  t.match(
    JSON.parse(Buffer.from(value ?? []).toString()),
    { index: 0, cache: 'hit' },
    'hits arrive while others are being bought',
  )
  await gateway.upstream.arrived(3)
  leaving.abort()
  await gateway.logged(({ msg, status }) => msg === 'request' && status === 499)
  gate.open()
  const again = await gateway.segment({ coordinates: '[[1,0]]' }, { image: photo })
  t.notOk(again.headers.get('x-cache') === 'MISS', 'purchases in flight are kept')
  await gateway.stop()
  t.equal(gateway.upstream.calls.length, 3)
})

t.test('an unknown image is reported at once', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const body = JSON.stringify({ image: `sha256:${'0'.repeat(64)}`, selections: [{ prompt: 'dog' }] })
  const headers = { 'content-type': 'application/json' }
  const answer = await gateway.fetch('/segment/batch', { method: 'POST', headers, body })
  t.match(await answer.json(), { status: 404, code: 'unknown_image' })
})
