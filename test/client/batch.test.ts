import { once } from 'node:events'
import t from 'tap'
import { type BatchItem, GatewayProblem } from '../../src/client/index.js'
import { otherJpeg } from '../fixtures/jpeg.js'
import { startTestGateway } from '../support/gateway/gateway.js'
import { clientOf, fakeGateway, formOf, ID, problem, type Reply } from './fake-gateway.js'

const NDJSON = { 'content-type': 'application/x-ndjson; charset=utf-8' }
const lines = (...items: object[]) => items.map(item => `${JSON.stringify(item)}\n`).join('')
const item = (index: number) => ({ index, id: `ä${index}`, status: 200, costCredits: 0, image: 'AAAA' })
const both = Buffer.from(lines(item(1), item(0)))
const say =
  (text: string | Buffer): Reply =>
  response =>
    response.writeHead(200, NDJSON).end(text)

/** Reads a batch of `count` selections. Returns the items that arrived and the error, if any. */
async function read(url: string, count: number, more: object = {}) {
  const items: BatchItem[] = []
  const { client } = clientOf(url, more)
  try {
    for await (const one of client.batch(ID, Array(count).fill({ prompt: 'a' }))) items.push(one)
    return { items }
  } catch (error) {
    return { items, error: error as GatewayProblem }
  }
}

t.test('a batch is read as it arrives', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const { client } = clientOf(gateway.url, { key: gateway.key })
  const photo = new Uint8Array(await otherJpeg(22))
  const selections = [{ id: 'ä', prompt: 'dog' }, { prompt: '' }, { coordinates: [[1, 2]] as const }]
  const seen: Record<number, unknown> = {}
  for await (const { index, id, status, cache, bytes, problem } of client.batch(photo, selections))
    seen[index] = { id, status, cache, first: bytes?.[0], code: problem?.code }
  t.strictSame(seen, {
    0: { id: 'ä', status: 200, cache: 'miss', first: 0xff, code: undefined },
    1: { id: undefined, status: 400, cache: undefined, first: undefined, code: 'missing_selection' },
    2: { id: undefined, status: 200, cache: 'miss', first: 0xff, code: undefined },
  })
  const again = client.batch(photo, selections)
  t.match((await again.next()).value, { cache: 'hit' })
  await again.return(undefined)
})

t.test('an item has all members of its line', async t => {
  const mask = { bbox: [1, 2, 3, 4], area: 5 }
  const rle = { size: [8, 16], counts: 'abc', bbox: [1, 2, 3, 4], area: 5 }
  const facts = { width: 9, height: 9, ...mask, polygons: [] }
  const [polygon, geojson] = [facts, { type: 'Feature', properties: facts }]
  const common = { requestId: 'r.0', status: 200, cache: 'hit', costCredits: 0.5, resultId: 'r1' }
  const detail = { code: 'rate_limited', status: 429, detail: 'later', requestId: 'r.2' }
  const { url } = await fakeGateway(
    t,
    say(
      lines(
        { index: 0, id: 'a', ...common, contentType: 'image/png', image: '/wD+', mask },
        { index: 1, ...common, contentType: 'application/json', rle },
        { index: 3, ...common, contentType: 'application/json', polygon },
        { index: 4, ...common, contentType: 'application/geo+json', geojson },
        { index: 5, ...common, contentType: 'text/plain', yolo: '' },
        { index: 2, id: 'c', status: 429, costCredits: 0, problem: { ...detail, retryable: true, billed: 'no' } },
      ),
    ),
  )
  const { items } = await read(url, 6)
  const shared = { status: 200, cost: 0.5, cache: 'hit', resultId: 'r1' }
  t.strictSame(items[0], {
    index: 0,
    id: 'a',
    ...shared,
    contentType: 'image/png',
    bytes: new Uint8Array([255, 0, 254]),
    mask,
  })
  t.strictSame(items[1], { index: 1, ...shared, contentType: 'application/json', rle })
  t.strictSame(items[2], { index: 3, ...shared, contentType: 'application/json', polygon })
  t.strictSame(items[3], { index: 4, ...shared, contentType: 'application/geo+json', geojson })
  t.strictSame(items[4], { index: 5, ...shared, contentType: 'text/plain', yolo: '' })
  t.match(items[5], { index: 2, id: 'c', status: 429, problem: { code: 'rate_limited', message: 'later' } })
  t.ok(items[5]?.problem instanceof GatewayProblem)
})

t.test('a batch sends the image id first and its bytes if the gateway does not hold it', async t => {
  const { url, received } = await fakeGateway(t, problem(404, 'unknown_image'), say(both))
  const selections = [{ id: 'x', prompt: 'a', overlayMask: true }, { removeCoordinates: [[1, 2]] as const }]
  for await (const _ of clientOf(url).client.batch(new Uint8Array(9), selections));
  const wire = [{ id: 'x', prompt: 'a', overlay_mask: true }, { remove_coordinates: [[1, 2]] }]
  t.match(received, [{ url: '/segment/batch', headers: { accept: 'application/x-ndjson' } }, { method: 'POST' }])
  t.match(JSON.parse(String(received[0]?.body)), { image: /^sha256:/, selections: wire })
  const form = await formOf(received[1]!)
  t.strictSame(JSON.parse(String(form.get('selections'))), wire)
  t.equal((form.get('image') as File).size, 9)
})

t.test('lines split at any byte are joined', async t => {
  const answer = (chunks: Uint8Array[]) => async () => new Response(ReadableStream.from(chunks), { headers: NDJSON })
  const cuts = Array.from({ length: both.length + 1 }, (_, at) => [both.subarray(0, at), both.subarray(at)])
  for (const chunks of [...cuts, Array.from(both, byte => Uint8Array.of(byte))]) {
    const { items, error } = await read('http://gateway', 2, { fetch: answer(chunks) })
    t.equal(error, undefined)
    t.strictSame(
      items.map(({ index, id }) => [index, id]),
      [
        [1, 'ä1'],
        [0, 'ä0'],
      ],
    )
  }
})

t.test('a response that ends early throws after its complete items', async t => {
  const whole = lines(item(0))
  const cutOff: Reply = response => {
    response.writeHead(200, NDJSON)
    response.write(whole, () => response.destroy())
  }
  const ends = { 'between two lines': say(whole), 'inside a line': say(both.subarray(0, -9)), 'by a cut': cutOff }
  for (const [name, reply] of Object.entries(ends)) {
    const { url, received } = await fakeGateway(t, reply)
    const { items, error } = await read(url, 2)
    t.match(error, { code: 'incomplete_answer', retryable: true, billed: 'unknown' }, name)
    t.equal(items.length, 1, name)
    t.equal(received.length, 1, 'not retried')
  }
  t.equal((await read((await fakeGateway(t, say(lines(item(0), item(0))))).url, 2)).error?.code, 'incomplete_answer')
})

/** Replies with the first line. `left` resolves when the client disconnects. */
function halfway() {
  let leave = () => {}
  const left = new Promise<void>(resolve => {
    leave = resolve
  })
  const reply: Reply = async response => {
    response.writeHead(200, NDJSON).write(lines(item(0)))
    await once(response, 'close')
    leave()
  }
  return { reply, left }
}

t.test('controller the loop ends the request', async t => {
  const { reply, left } = halfway()
  const { url } = await fakeGateway(t, reply)
  for await (const { index } of clientOf(url).client.batch(ID, [{ prompt: 'a' }, { prompt: 'b' }])) {
    t.equal(index, 0)
    break
  }
  await left
})

t.test('an abort between items and while waiting for one throws its reason', async t => {
  const reason = new Error('enough')
  const selections = [{ prompt: 'a' }, { prompt: 'b' }]
  for (const reply of [halfway().reply, say(both)]) {
    const controller = new AbortController()
    const { url } = await fakeGateway(t, reply)
    const items = clientOf(url).client.batch(ID, selections, { signal: controller.signal })
    await items.next()
    controller.abort(reason)
    await t.rejects(items.next(), reason)
  }
})

t.test('a problem of the whole request is thrown or retried', async t => {
  const { url } = await fakeGateway(t, problem(400, 'invalid_request'))
  t.match(await read(url, 2), { items: [], error: { code: 'invalid_request' } })
  const busy = problem(503, 'overloaded', { retryable: true }, { 'retry-after': '1' })
  const later = await fakeGateway(t, busy, say(both))
  t.equal((await read(later.url, 2)).items.length, 2)
})
