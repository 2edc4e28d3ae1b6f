import t from 'tap'
import { startTestGateway, type TestGateway } from '../support/gateway.js'
import { otherJpeg } from '../support/jpeg.js'

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

t.test('a hundred selections of which sixty are bought pay for forty, the bought ones first', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const gate = gateway.upstream.hold()
  const buying = batch(gateway, points(0, 60))
  await gateway.upstream.arrived(8)
  gate.open()
  const first = await itemsOf(await buying)
  t.equal(first.length, 60)
  t.equal(gateway.upstream.calls.length, 60)
  t.equal(gateway.upstream.peakInFlight, 8, 'so many at a time')
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
  t.equal(Buffer.from(await found.arrayBuffer()).toString('base64'), items[0]?.image, 'each has its own result')
})

t.test('one upload: the image is hashed once and sent as one', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  await itemsOf(await batch(gateway, points(0, 5)))
  const uploaded = Number(/upload_bytes_total\{team="vision"\} (\d+)/.exec(await gateway.metrics())?.[1])
  t.ok(uploaded < photo.length + 1_000)
})

t.test('a budget stops what it does not pay for, and nothing else', async t => {
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

t.test('as multipart/mixed each part is an answer', async t => {
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

t.test('items come as they are done, and nothing more is begun for a caller that has left', async t => {
  const gateway = await startTestGateway({ env: { SEGMIND_MAX_CONCURRENCY: '2' } })
  t.teardown(gateway.stop)
  await itemsOf(await batch(gateway, points(0, 1)))
  const gate = gateway.upstream.hold()
  const leaving = new AbortController()
  const answer = await batch(gateway, points(0, 20), { signal: leaving.signal })
  const reader = answer.body?.getReader()
  const { value } = (await reader?.read()) ?? {}
  t.match(JSON.parse(Buffer.from(value ?? []).toString()), { index: 0, cache: 'hit' }, 'while the others are bought')
  await gateway.upstream.arrived(3)
  leaving.abort()
  await gateway.logged(({ msg, status }) => msg === 'request' && status === 499)
  gate.open()
  const again = await gateway.segment({ coordinates: '[[1,0]]' }, { image: photo })
  t.notOk(again.headers.get('x-cache') === 'MISS', 'what was under way is kept')
  await gateway.stop()
  t.equal(gateway.upstream.calls.length, 3)
})

t.test('an image that is not there is told at once', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const body = JSON.stringify({ image: `sha256:${'0'.repeat(64)}`, selections: [{ prompt: 'dog' }] })
  const headers = { 'content-type': 'application/json' }
  const answer = await gateway.fetch('/segment/batch', { method: 'POST', headers, body })
  t.match(await answer.json(), { status: 404, code: 'unknown_image' })
})
