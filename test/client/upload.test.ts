import t from 'tap'
import { createClient, type Progress, type Selection } from '../../src/client/index.js'
import { formOf, ID, impatient, picture, problem, standIn } from './stand-in.js'

const unknown = problem(404, 'unknown_image')
const busy = problem(503, 'overloaded', { retryable: true }, { 'retry-after': '1' })

t.test('the way of an upload can be followed', async t => {
  const { url, received } = await standIn(t, unknown, picture)
  const large = new Uint8Array(300_000)
  const sent: Progress[] = []
  await impatient(url).client.segment(large, { prompt: 'ä' }, { onProgress: progress => sent.push(progress) })
  const uploads = sent.filter(({ phase }) => phase === 'uploading')
  t.equal(uploads.length, 5)
  t.equal(uploads.at(-1)?.sentBytes, uploads.at(-1)?.totalBytes)
  const [asked, whole] = received
  t.ok((asked?.body.length ?? 0) < 200)
  t.equal(whole?.body.length, uploads.at(-1)?.totalBytes)
  const form = await formOf(whole!)
  t.equal(form.get('prompt'), 'ä')
  t.equal((form.get('image') as File).size, large.length)
  t.strictSame([...new Set(sent.map(({ phase }) => phase))], ['hashing', 'asking', 'uploading', 'receiving'])
})

t.test('an upload that has to wait is sent whole again', async t => {
  for (const onProgress of [undefined, () => {}]) {
    const { url, received } = await standIn(t, unknown, busy, picture)
    const options = onProgress ? { onProgress } : {}
    const answer = await impatient(url).client.segment(new Uint8Array(100_000).fill(7), { prompt: 'dog' }, options)
    t.equal(answer.isUploaded, true)
    for (const got of received.slice(1)) t.equal(((await formOf(got)).get('image') as File).size, 100_000)
    t.equal(received.length, 3)
  }
})

t.test('a form has the fields of the question, points as JSON', async t => {
  const { url, received } = await standIn(t, unknown, picture)
  const selection: Selection = {
    coordinates: [[1, 2]],
    removeCoordinates: [[3, 4]],
    overlayMask: false,
    output: 'mask',
  }
  const options = { cacheControl: 'max-age=60', idempotencyKey: 'k', requestId: 'mine', waitSeconds: 3 }
  await impatient(url).client.segment(new Uint8Array(9), selection, options)
  const [asked, whole] = received
  const fields = { coordinates: [[1, 2]], remove_coordinates: [[3, 4]], overlay_mask: false, output: 'mask' }
  t.match(JSON.parse(String(asked?.body)), { image: /^sha256:[0-9a-f]{64}$/, ...fields })
  const { image, ...others } = Object.fromEntries(await formOf(whole!))
  t.ok(image instanceof Blob)
  const texts = { coordinates: '[[1,2]]', remove_coordinates: '[[3,4]]', overlay_mask: 'false', output: 'mask' }
  t.strictSame(others, texts)
  const headers = { 'cache-control': 'max-age=60', 'idempotency-key': 'k', 'x-request-id': 'mine', prefer: 'wait=3' }
  for (const got of received) t.match(got.headers, { ...headers, 'x-api-key': 'SG_gw' })
})

t.test('the same bytes are hashed once, of whatever kind they are', async t => {
  const { url, received } = await standIn(t, picture)
  const { client } = impatient(url)
  const bytes = new Uint8Array([0, 1, 2, 3]).subarray(1)
  for (const image of [bytes, new Blob([bytes]), bytes.slice().buffer]) {
    const phases: string[] = []
    const onProgress = ({ phase }: Progress) => phases.push(phase)
    await client.segment(image, { prompt: 'a' }, { onProgress })
    await client.segment(image, { prompt: 'b' }, { onProgress })
    t.strictSame(phases, ['hashing', 'asking', 'receiving', 'asking', 'receiving'])
  }
  const names = new Set(received.map(({ body }) => JSON.parse(String(body)).image))
  t.strictSame([...names], ['sha256:039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81'])
})

t.test('an id or an address is sent as it is, and has no bytes to fall back on', async t => {
  for (const image of [ID, 'https://example.com/dog.jpg']) {
    const { url, received } = await standIn(t, unknown)
    await t.rejects(impatient(url).client.segment(image, { prompt: 'dog' }), { code: 'unknown_image' })
    t.strictSame(
      received.map(({ body }) => JSON.parse(String(body))),
      [{ image, prompt: 'dog' }],
    )
  }
})

t.test('a browser’s fetch is called as the browser wants it', async t => {
  const { url } = await standIn(t, picture)
  const { fetch } = globalThis
  t.intercept(globalThis, 'fetch', {
    value(this: unknown, ...given: Parameters<typeof fetch>) {
      if (this !== undefined && this !== globalThis) throw new TypeError('Illegal invocation')
      return fetch(...given)
    },
  })
  t.equal((await createClient({ url, key: 'k' }).segment(ID, { prompt: 'dog' })).cost, 0.0017)
})

/** A browser's XMLHttpRequest, as far as it is used here; `script` plays the gateway. */
function browser(t: import('tap').Test, script: (request: FakeRequest) => void) {
  class Requests extends FakeRequest {
    override send(form: FormData) {
      this.form = form
      script(this)
    }
  }
  t.intercept(globalThis as { XMLHttpRequest?: unknown }, 'XMLHttpRequest', { value: Requests })
}

class FakeRequest {
  form = new FormData()
  sent: Record<string, string> = {}
  to = ''
  status = 0
  responseType = ''
  response: Blob | null = null
  upload: { onprogress: ((event: { loaded: number; total: number }) => void) | null } = { onprogress: null }
  onload: (() => void) | null = null
  onerror: (() => void) | null = null
  onabort: (() => void) | null = null
  open(method: string, url: string) {
    this.to = `${method} ${url}`
  }
  setRequestHeader(name: string, value: string) {
    this.sent[name] = value
  }
  getAllResponseHeaders() {
    return `content-type: image/png\r\nx-cache: HIT\r\nx-cost: 0\r\nx-image-id: ${ID}\r\n`
  }
  send(_: FormData) {}
  abort() {
    this.onabort?.()
  }
}

t.test('in a browser an upload that is followed goes by XMLHttpRequest', async t => {
  const { url, received } = await standIn(t, unknown)
  const requests: FakeRequest[] = []
  browser(t, request => {
    requests.push(request)
    request.upload.onprogress?.({ loaded: 5, total: 9 })
    request.status = 200
    request.response = new Blob(['PNG'])
    request.onload?.()
  })
  const sent: Progress[] = []
  const onProgress = (progress: Progress) => sent.push(progress)
  const answer = await impatient(url).client.segment(new Uint8Array(9), { prompt: 'dog' }, { onProgress })
  t.match(answer, { isUploaded: true, cache: 'hit', contentType: 'image/png', imageId: ID })
  t.equal(String.fromCharCode(...answer.bytes), 'PNG')
  t.match(requests, [{ to: `POST ${url}/segment`, sent: { 'x-api-key': 'SG_gw' } }])
  t.equal(requests[0]?.form.get('prompt'), 'dog')
  t.strictSame(
    sent.filter(({ phase }) => phase === 'uploading'),
    [{ phase: 'uploading', sentBytes: 5, totalBytes: 9 }],
  )
  t.equal(received.length, 1)
})

t.test('not so with a fetch of the caller’s own, or unfollowed', async t => {
  browser(t, () => t.fail('it was used'))
  for (const [more, options] of [[{ fetch }, { onProgress: () => {} }] as const, [{}, {}] as const]) {
    const { url } = await standIn(t, unknown, picture)
    t.equal((await impatient(url, more).client.segment(new Uint8Array(9), { prompt: 'dog' }, options)).cost, 0.0017)
  }
})

t.test('in a browser an upload can be aborted, and a broken one is tried again', async t => {
  const reason = new Error('enough')
  const leaving = new AbortController()
  const scripts = [(request: FakeRequest) => request.onerror?.(), (_: FakeRequest) => leaving.abort(reason)]
  browser(t, request => scripts.shift()?.(request))
  const { url } = await standIn(t, unknown)
  const { client, waits } = impatient(url)
  const options = { signal: leaving.signal, onProgress: () => {} }
  await t.rejects(client.segment(new Uint8Array(9), { prompt: 'dog' }, options), reason)
  t.equal(waits.length, 1)
  t.equal(scripts.length, 0)
})
