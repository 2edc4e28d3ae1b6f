import t from 'tap'
import { createClient, type Outline, type OutlineFeature, type Progress } from '../../src/client/index.js'
import { otherJpeg } from '../fixtures/jpeg.js'
import { startTestGateway } from '../support/gateway/gateway.js'
import { clientOf, fakeGateway, ID, json, picture, problem, RESULT } from './fake-gateway.js'

const photo = new Uint8Array(await otherJpeg(21))

/** Returns a `fetch` that records the body size of each request. */
function counting() {
  const sizes: number[] = []
  const counted: typeof fetch = async (input, init = {}) => {
    const request = new Request(input, init)
    const body = await request.clone().arrayBuffer()
    sizes.push(body.byteLength)
    return fetch(request)
  }
  return { sizes, counted }
}

t.test('fifty segmentations of one photo upload it once', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const large = new Uint8Array(Buffer.concat([photo, Buffer.alloc(1_000_000)]))
  const { sizes, counted } = counting()
  const client = createClient({ url: `${gateway.url}/`, key: gateway.key, fetch: counted })
  const uploaded: boolean[] = []
  for (let click = 0; click < 50; click++) {
    const answer = await client.segment(large, { coordinates: [[click % 16, Math.floor(click / 16)]] })
    uploaded.push(answer.isUploaded)
    t.equal(answer.cache, 'miss')
  }
  t.strictSame(uploaded, [true, ...Array(49).fill(false)])
  t.equal(sizes.length, 51)
  t.equal(sizes.filter(size => size > large.length).length, 1)
  t.ok(sizes.reduce((sum, size) => sum + size) < large.length + 20_000)
  t.equal((await client.segment(large, { coordinates: [[0, 0]] })).cost, 0)
  const other = createClient({ url: gateway.url, key: gateway.key })
  const answer = await other.segment(new Blob([large]), { coordinates: [[0, 0]] })
  t.match(answer, { isUploaded: false, cache: 'hit' }, 'another client uploaded it')
})

t.test('an answer contains the values of the headers', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const client = createClient({ url: gateway.url, key: gateway.key })
  const answer = await client.segment(photo, { prompt: 'dog', coordinates: [[1, 1]] }, { requestId: 'mine' })
  t.match(answer, {
    contentType: 'image/jpeg',
    cache: 'miss',
    cost: 0.0017,
    remainingCredits: 9.9983,
    requestId: 'mine',
    resultId: /^[0-9a-f]{64}$/,
    imageId: /^sha256:/,
    ignoredFields: ['coordinates'],
    isSandbox: false,
    timing: { upload: Number, cache: Number, queue: Number, upstream: Number },
    etag: /^"/,
  })
  t.equal(answer.bytes[0], 0xff)
  t.equal(answer.blob().type, 'image/jpeg')
  t.throws(() => answer.json())
  t.strictSame((await client.result(answer.resultId)).bytes, answer.bytes)
  t.equal(answer.purchaseCost, undefined)
  t.match(await client.result(answer.resultId), { cost: 0, purchaseCost: 0.0017 })
  await t.rejects(client.result('0'.repeat(64)), { code: 'unknown_result' })
})

t.test('missing headers are undefined', async t => {
  const { url } = await fakeGateway(t, picture)
  t.match(await clientOf(url).client.segment(ID, { prompt: 'dog' }), {
    imageId: undefined,
    remainingCredits: undefined,
    purchaseCost: undefined,
    etag: undefined,
    mask: undefined,
    ignoredFields: [],
    timing: {},
    isSandbox: false,
    requestId: '',
  })
})

t.test('outputs, quotes, images and statements', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const client = createClient({ url: gateway.url, key: gateway.key })
  t.match(await client.quote(photo, { prompt: 'dog', output: 'mask' }), { wouldBe: 'miss', allowed: true })
  t.equal(gateway.upstream.calls.length, 0)
  const rle = await client.segment(photo, { prompt: 'dog', output: 'rle' })
  t.match(rle.json(), { size: [8, 16], area: Number })
  t.match(rle.mask, { bbox: [0, 0, Number, Number], area: Number })
  t.match(await client.quote(photo, { prompt: 'dog', output: 'cutout' }), { wouldBe: 'hit' })
  const polygon = await client.segment(photo, { prompt: 'dog', output: 'polygon', simplify: 0 })
  t.strictSame(polygon.json<Outline>().area, rle.mask?.area)
  const feature = await client.segment(photo, { prompt: 'dog', output: 'geojson' })
  t.strictSame(feature.json<OutlineFeature>().properties.bbox, rle.mask?.bbox)
  t.match((await client.segment(photo, { prompt: 'dog', output: 'yolo' })).text(), /^0 /)
  t.equal((await client.segment(photo, { prompt: 'dog', output: 'cutout' })).contentType, 'image/png')
  const { image, width, type } = await client.upload(photo)
  t.match({ width, type }, { width: 16, type: 'image/jpeg' })
  t.equal(await client.has(photo), true)
  t.equal(await client.has(image), true)
  await client.deleteImage(image)
  t.equal(await client.has(photo), false)
  const { totals, days } = await client.usage()
  t.equal(totals.paidCalls, 1)
  t.equal(days[0]?.paidCalls, 1)
  await t.rejects(client.usage('never'), { name: 'GatewayProblem', status: 400 })
  await t.rejects(client.segment(image, { prompt: 'cat' }), { code: 'unknown_image', status: 404, billed: 'no' })
  await t.rejects(client.deleteImage(image), { code: 'unknown_image' })
})

t.test('has throws if the gateway refuses the request', async t => {
  const { url } = await fakeGateway(t, response => response.writeHead(401).end())
  await t.rejects(clientOf(url).client.has(ID), { name: 'GatewayProblem', status: 401 })
})

t.test('an idempotency key prevents a second purchase', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const client = createClient({ url: gateway.url, key: gateway.key })
  const how = { cacheControl: 'no-store', idempotencyKey: 'order 1' }
  t.match(await client.segment(photo, { prompt: 'dog' }, how), { isUploaded: true, cost: 0.0017 })
  t.match(await client.segment(photo, { prompt: 'dog' }, how), { cost: 0 })
  t.equal(gateway.upstream.calls.length, 1)
})

t.test('a test key gets sandbox results', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const client = createClient({ url: gateway.url, key: gateway.testKey })
  t.match(await client.segment(photo, { prompt: 'dog' }), { isSandbox: true })
  t.equal(gateway.upstream.calls.length, 0)
})

t.test('a pending result is polled, and its image uploaded if missing', async t => {
  for (const waitSeconds of [0, 1]) {
    const gateway = await startTestGateway()
    t.teardown(gateway.stop)
    const gate = gateway.upstream.hold()
    const phases: string[] = []
    const wait = async () => {
      if (!phases.includes('uploading')) return
      await gateway.upstream.arrived(1)
      gate.open()
    }
    const client = createClient({ url: gateway.url, key: gateway.key, wait })
    const onProgress = ({ phase }: Progress) => phases.push(phase)
    const answer = await client.segment(photo, { prompt: 'dog' }, { async: true, waitSeconds, onProgress })
    t.equal(answer.bytes[0], 0xff)
    t.equal(answer.isUploaded, true)
    t.match(answer, { cost: 0.0017, purchaseCost: 0.0017 }, 'the fetch was free, the purchase was not')
    for (const phase of ['hashing', 'requesting', 'uploading', 'waiting', 'receiving'])
      t.ok(phases.includes(phase), phase)
    t.equal(gateway.upstream.calls.length, 1)
  }
})

const running = (headers: Record<string, string>) =>
  json(202, { status: 'running', resultId: RESULT }, { 'x-result-id': RESULT, ...headers })

t.test('polling follows the path and the interval of the gateway, on its host only', async t => {
  const rows: [location: string | undefined, path: string][] = [
    [`/results/${RESULT}?output=rle`, `/results/${RESULT}?output=rle`],
    [`https://elsewhere.example/gateway/results/${RESULT}?output=rle`, `/results/${RESULT}?output=rle`],
    ['https://elsewhere.example/trap', `/results/${RESULT}`],
    [undefined, `/results/${RESULT}`],
  ]
  for (const [location, path] of rows) {
    const first = running({ ...(location !== undefined && { location }), 'retry-after': '3' })
    const { url, received } = await fakeGateway(t, first, running({ 'retry-after': '4' }), running({}), picture)
    const { client, waits } = clientOf(url)
    const options = { async: true, cacheControl: 'max-age=60', idempotencyKey: 'k', requestId: 'mine' }
    t.equal((await client.segment(ID, { prompt: 'dog', output: 'rle' }, options)).cost, 0.0017)
    t.strictSame(waits, [3000, 4000, 2000])
    t.strictSame(
      received.map(({ method, url }) => `${method} ${url}`),
      ['POST /segment', ...Array(3).fill(`GET ${path}`)],
    )
    t.equal(received[0]?.headers.prefer, 'respond-async')
    t.match(received[1]?.headers, { 'x-request-id': 'mine', 'idempotency-key': undefined, prefer: undefined })
  }
})

t.test('a 202 without a path is not a valid response', async t => {
  const { url } = await fakeGateway(t, json(202, {}))
  await t.rejects(clientOf(url).client.segment(ID, { prompt: 'dog' }), { code: 'unreadable_answer' })
})

t.test('a result can be requested without waiting', async t => {
  const { url, received } = await fakeGateway(t, running({}), running({}), picture)
  const { client, waits } = clientOf(url)
  t.equal(await client.result(RESULT, { wait: false }), undefined)
  t.strictSame(waits, [])
  t.match(await client.result(RESULT), { resultId: RESULT, isUploaded: false })
  t.equal(waits.length, 1)
  t.equal(received.length, 3)
})

t.test('a result that was paid and lost is not bought again', async t => {
  const held = (response: import('node:http').ServerResponse) => response.writeHead(200).end()
  const { url, received } = await fakeGateway(t, running({}), problem(404, 'unknown_result'), held)
  await t.rejects(clientOf(url).client.segment(photo, { prompt: 'dog' }, { async: true }), { code: 'unknown_result' })
  t.strictSame(
    received.map(({ method }) => method),
    ['POST', 'GET', 'HEAD'],
  )
})

t.test('without hashing, the image id is learned from any response', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  t.intercept(globalThis, 'crypto', { value: {} })
  const client = createClient({ url: gateway.url, key: gateway.key })
  t.equal(await client.has(photo), false)
  t.equal((await client.segment(photo, { prompt: 'a' })).isUploaded, true)
  t.equal((await client.segment(photo, { prompt: 'b' })).isUploaded, false)
  const others = [new Blob([photo]), photo.slice()] as const
  t.match(await client.quote(others[0], { prompt: 'c' }), { allowed: true })
  await client.upload(others[1])
  for (const other of others) t.equal((await client.segment(other, { prompt: 'a' })).isUploaded, false)
})

t.test('a quote sends bytes only if the gateway does not hold the image', async t => {
  const unknown = json(200, { allowed: false, refusal: { code: 'unknown_image', detail: '' } })
  const { url, received } = await fakeGateway(t, unknown, json(200, { allowed: true }), unknown)
  const { client } = clientOf(url)
  t.match(await client.quote(photo, { prompt: 'dog' }), { allowed: true })
  t.match(await client.quote(ID, { prompt: 'dog' }), { allowed: false, refusal: { code: 'unknown_image' } })
  t.match(
    received.map(({ headers }) => headers['content-type']),
    ['application/json', /^multipart/, 'application/json'],
  )
})
