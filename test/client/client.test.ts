import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { createClient, type GatewayProblem, type Progress } from '../../src/client/index.js'
import { startTestGateway } from '../support/gateway.js'
import { otherJpeg } from '../support/jpeg.js'
import { broken, json, picture, problem, standIn } from './stand-in.js'

/** A client that notes its waits instead of waiting. */
function impatient(url: string, more: object = {}) {
  const waits: number[] = []
  const wait = async (ms: number, signal: AbortSignal | undefined) => {
    waits.push(Math.round(ms))
    signal?.throwIfAborted()
  }
  return { waits, client: createClient({ url, key: 'SG_gw', wait, ...more }) }
}

const photo = new Uint8Array(await otherJpeg(21))
const ID = `sha256:${'b'.repeat(64)}`

t.test('a labelling loop of fifty clicks sends its photo once', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const client = createClient({ url: `${gateway.url}/`, key: gateway.key })
  const uploaded: boolean[] = []
  for (let click = 0; click < 50; click++) {
    const answer = await client.segment(photo, { coordinates: [[click % 16, Math.floor(click / 16)]] })
    uploaded.push(answer.isUploaded)
    t.equal(answer.cache, 'miss')
  }
  t.strictSame(uploaded, [true, ...Array(49).fill(false)])
  t.equal((await client.segment(photo, { coordinates: [[0, 0]] })).cost, 0)
  const other = createClient({ url: gateway.url, key: gateway.key })
  const answer = await other.segment(new Blob([photo]), { coordinates: [[0, 0]] })
  t.match(answer, { isUploaded: false, cache: 'hit' }, 'whoever sent it')
})

t.test('an answer says what the headers say', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const client = createClient({ url: gateway.url, key: gateway.key })
  const answer = await client.segment(photo, { prompt: 'dog', coordinates: [[1, 1]] }, { requestId: 'mine' })
  t.match(answer, {
    ...{ contentType: 'image/jpeg', cache: 'miss', cost: 0.0017, remainingCredits: 9.9983, requestId: 'mine' },
    ...{ resultId: /^[0-9a-f]{64}$/, imageId: /^sha256:/, ignoredFields: ['coordinates'], isSandbox: false },
    timing: { upload: Number, cache: Number, queue: Number, upstream: Number },
  })
  t.equal(answer.bytes[0], 0xff)
  t.equal(answer.blob().type, 'image/jpeg')
  t.strictSame((await client.result(answer.resultId)).bytes, answer.bytes)
})

t.test('forms of a mask, quotes, images and statements', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  gateway.upstream.script({ body: Buffer.from(photo) })
  const client = createClient({ url: gateway.url, key: gateway.key })
  t.match(await client.quote(photo, { prompt: 'dog', output: 'mask' }), { wouldBe: 'miss', allowed: true })
  t.equal(gateway.upstream.calls.length, 0)
  const rle = await client.segment(photo, { prompt: 'dog', output: 'rle' })
  t.match(rle.rle(), { size: [8, 16], area: Number })
  t.match(rle.mask, { bbox: [0, 0, Number, Number] })
  t.match(await client.quote(photo, { prompt: 'dog', output: 'cutout' }), { wouldBe: 'hit' })
  t.equal((await client.segment(photo, { prompt: 'dog', output: 'cutout' })).contentType, 'image/png')
  const { image, width, type } = await client.upload(photo)
  t.match({ width, type }, { width: 16, type: 'image/jpeg' })
  t.equal(await client.has(photo), true)
  t.equal(await client.has(image), true)
  await client.deleteImage(image)
  t.equal(await client.has(photo), false)
  t.equal((await client.usage()).totals.paidCalls, 1)
  await t.rejects(client.segment(image, { prompt: 'cat' }), { code: 'unknown_image', status: 404, billed: 'no' })
})

t.test('a result that takes its time is asked for again', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const gate = gateway.upstream.hold()
  const phases: string[] = []
  const client = createClient({ url: gateway.url, key: gateway.key, wait: async () => gate.open() })
  const onProgress = ({ phase }: Progress) => phases.push(phase)
  const answer = await client.segment(photo, { prompt: 'dog' }, { async: true, waitSeconds: 0, onProgress })
  t.equal(answer.bytes[0], 0xff)
  t.strictSame([...new Set(phases)], ['hashing', 'asking', 'uploading', 'waiting', 'receiving'])
})

t.test('the way of an upload can be followed', async t => {
  const { url, received } = await standIn(t, problem(404, 'unknown_image'), picture)
  const large = new Uint8Array(300_000)
  const sent: Progress[] = []
  await impatient(url).client.segment(large, { prompt: 'ä' }, { onProgress: progress => sent.push(progress) })
  const uploads = sent.filter(({ phase }) => phase === 'uploading')
  t.ok(uploads.length >= 5)
  t.equal(uploads.at(-1)?.sentBytes, uploads.at(-1)?.totalBytes)
  const [asked, sentWhole] = received
  t.ok((asked?.body.length ?? 0) < 200)
  t.equal(sentWhole?.body.length, uploads.at(-1)?.totalBytes)
  const form = await new Response(new Uint8Array(sentWhole?.body ?? []), {
    headers: { 'content-type': sentWhole?.headers['content-type'] ?? '' },
  }).formData()
  t.equal(form.get('prompt'), 'ä')
  t.equal((form.get('image') as File).size, large.length)
})

t.test('only what is retryable is sent again, after the time that is asked for', async t => {
  const later = problem(503, 'overloaded', { retryable: true }, { 'retry-after': '7' })
  const { url, received } = await standIn(t, later, later, picture)
  const { client, waits } = impatient(url)
  t.equal((await client.segment(ID, { prompt: 'dog' })).cost, 0.0017)
  t.strictSame(waits, [7000, 7000])
  t.equal(received.length, 3)
})

t.test('it gives up when it must', async t => {
  const busy = problem(429, 'rate_limited', { retryable: true }, { 'retry-after': '1' })
  const rows: [reply: typeof busy, code: string, sent: number, more?: object][] = [
    [busy, 'rate_limited', 3],
    [busy, 'rate_limited', 1, { attempts: 1 }],
    [problem(400, 'invalid_parameter'), 'invalid_parameter', 1],
    [problem(429, 'budget_exhausted', { retryable: true }, { 'retry-after': '3600' }), 'budget_exhausted', 1],
    [response => response.writeHead(502).end('<html>'), 'unreadable_answer', 3],
    [response => response.writeHead(418).end('tea'), 'unreadable_answer', 1],
    [json(200, {}), '', 1],
  ]
  for (const [reply, code, sent, more] of rows) {
    const { url, received } = await standIn(t, reply)
    const asked = impatient(url, more).client.segment(ID, { prompt: 'dog' })
    if (code) await t.rejects(asked, { name: 'GatewayProblem', code }, code)
    else await asked
    t.equal(received.length, sent, code)
  }
})

t.test('without word from the gateway the pauses grow', async t => {
  const { url } = await standIn(t, problem(502, 'upstream_failed', { retryable: true }))
  const { client, waits } = impatient(url, { attempts: 4 })
  await t.rejects(client.segment(ID, { prompt: 'dog' }), { code: 'upstream_failed' })
  t.equal(waits.length, 3)
  waits.forEach((wait, index) => t.ok(wait >= 500 * 2 ** index && wait <= 1000 * 2 ** index))
})

t.test('what broke on its way is sent again only where that cannot buy twice', async t => {
  const rows: [options: object, sent: number][] = [
    [{}, 2],
    [{ cacheControl: 'max-age=60' }, 2],
    [{ cacheControl: 'no-cache' }, 1],
    [{ cacheControl: 'no-store' }, 1],
    [{ cacheControl: 'no-store', idempotencyKey: 'order 1' }, 2],
  ]
  for (const [options, sent] of rows) {
    const { url, received } = await standIn(t, broken, picture)
    const asked = impatient(url).client.segment(ID, { prompt: 'dog' }, options)
    if (sent === 2) t.equal((await asked).cost, 0.0017)
    else await t.rejects(asked, { code: 'network', billed: 'unknown' })
    t.equal(received.length, sent, JSON.stringify(options))
  }
})

t.test('whoever aborts is heard at every step', async t => {
  const reason = new Error('enough')
  const aborted = AbortSignal.abort(reason)
  const { url, received } = await standIn(t, picture)
  await t.rejects(createClient({ url, key: 'k' }).segment(photo, { prompt: 'dog' }, { signal: aborted }), reason)
  t.equal(received.length, 0)

  const leaving = new AbortController()
  const silent = await standIn(t, () => leaving.abort(reason))
  await t.rejects(
    createClient({ ...silent, key: 'k' }).segment(ID, { prompt: 'dog' }, { signal: leaving.signal }),
    reason,
  )

  const waiting = new AbortController()
  const busy = await standIn(t, (response, got) => {
    problem(429, 'rate_limited', { retryable: true }, { 'retry-after': '50' })(response, got)
    response.once('close', () => setImmediate(() => waiting.abort(reason)))
  })
  const client = createClient({ ...busy, key: 'k' })
  await t.rejects(
    client.segment(ID, { prompt: 'dog' }, { signal: waiting.signal }),
    reason,
    'while it waits for its turn',
  )

  const uploading = new AbortController()
  const slow = await standIn(t, problem(404, 'unknown_image'), picture)
  const onProgress = ({ phase }: Progress) => phase === 'uploading' && uploading.abort(reason)
  const sending = createClient({ ...slow, key: 'k' })
  const options = { signal: uploading.signal, onProgress }
  await t.rejects(sending.segment(new Uint8Array(5_000_000), { prompt: 'dog' }, options), reason, 'while it uploads')
})

t.test('a batch is read as it arrives', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const client = createClient({ url: gateway.url, key: gateway.key })
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

t.test('lines that are torn anywhere are whole again; an answer that ends early is told', async t => {
  const item = (index: number) =>
    `${JSON.stringify({ index, id: `ä${index}`, status: 200, costCredits: 0, image: 'AAAA' })}\n`
  const bytes = Buffer.from(item(0) + item(1))
  const { url } = await standIn(t, async response => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    for (const byte of bytes) await new Promise(resolve => response.write(Buffer.of(byte), resolve))
    response.end()
  })
  const { client } = impatient(url)
  const ids: (string | undefined)[] = []
  const read = async (count: number) => {
    for await (const { id } of client.batch(ID, Array(count).fill({ prompt: 'a' }))) ids.push(id)
  }
  await read(2)
  t.strictSame(ids, ['ä0', 'ä1'])
  await t.rejects(read(3), { code: 'incomplete_answer', retryable: true })
  t.equal(ids.length, 4, 'what came is not lost')
})

t.test('where nothing can be hashed, the gateway’s own name is learned', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  t.intercept(globalThis, 'crypto', { value: {} })
  const client = createClient({ url: gateway.url, key: gateway.key })
  t.equal((await client.segment(photo, { prompt: 'a' })).isUploaded, true)
  t.equal((await client.segment(photo, { prompt: 'b' })).isUploaded, false)
})

t.test('the message of a problem is for people, and holds no key', async t => {
  const { url } = await standIn(t, problem(401, 'unauthorized'))
  const error: GatewayProblem = await createClient({ url, key: 'SG_secret' })
    .usage()
    .then(
      () => t.fail('it was let in'),
      error => error,
    )
  t.equal(error.message, 'it was unauthorized')
  t.notMatch(JSON.stringify(error) + error.stack, 'SG_secret')
})

t.test('its types are those of the document', async t => {
  const before = readFileSync('src/client/api.ts', 'utf8')
  execFileSync('node', ['docs/client-types.mjs'])
  t.equal(readFileSync('src/client/api.ts', 'utf8'), before, 'write them anew: npm run docs')
})
