import t from 'tap'
import { createClient, type Progress, type Selection } from '../../src/client/index.js'
import { clientOf, fakeGateway, formOf, ID, picture, problem } from './fake-gateway.js'

const unknown = problem(404, 'unknown_image')
const busy = problem(503, 'overloaded', { retryable: true }, { 'retry-after': '1' })

t.test('an upload reports its progress', async t => {
  const { url, received } = await fakeGateway(t, unknown, picture)
  const large = new Uint8Array(300_000)
  const sent: Progress[] = []
  await clientOf(url).client.segment(large, { prompt: 'ä' }, { onProgress: progress => sent.push(progress) })
  const uploads = sent.filter(({ phase }) => phase === 'uploading')
  t.equal(uploads.length, 5)
  t.equal(uploads.at(-1)?.sentBytes, uploads.at(-1)?.totalBytes)
  const [byId, withBytes] = received
  t.ok((byId?.body.length ?? 0) < 200)
  t.equal(withBytes?.body.length, uploads.at(-1)?.totalBytes)
  const form = await formOf(withBytes!)
  t.equal(form.get('prompt'), 'ä')
  t.equal((form.get('image') as File).size, large.length)
  t.strictSame([...new Set(sent.map(({ phase }) => phase))], ['hashing', 'requesting', 'uploading', 'receiving'])
})

t.test('a retried upload sends the whole form', async t => {
  for (const onProgress of [undefined, () => {}]) {
    const { url, received } = await fakeGateway(t, unknown, busy, picture)
    const options = onProgress ? { onProgress } : {}
    const answer = await clientOf(url).client.segment(new Uint8Array(100_000).fill(7), { prompt: 'dog' }, options)
    t.equal(answer.isUploaded, true)
    for (const got of received.slice(1)) t.equal(((await formOf(got)).get('image') as File).size, 100_000)
    t.equal(received.length, 3)
  }
})

t.test('a form has the fields of the request, points as JSON', async t => {
  const { url, received } = await fakeGateway(t, unknown, picture)
  const selection: Selection = {
    coordinates: [[1, 2]],
    removeCoordinates: [[3, 4]],
    overlayMask: false,
    output: 'mask',
  }
  const options = { cacheControl: 'max-age=60', idempotencyKey: 'k', requestId: 'mine', waitSeconds: 3 }
  await clientOf(url).client.segment(new Uint8Array(9), selection, options)
  const [byId, withBytes] = received
  const fields = { coordinates: [[1, 2]], remove_coordinates: [[3, 4]], overlay_mask: false, output: 'mask' }
  t.match(JSON.parse(String(byId?.body)), { image: /^sha256:[0-9a-f]{64}$/, ...fields })
  const { image, ...others } = Object.fromEntries(await formOf(withBytes!))
  t.ok(image instanceof Blob)
  const texts = { coordinates: '[[1,2]]', remove_coordinates: '[[3,4]]', overlay_mask: 'false', output: 'mask' }
  t.strictSame(others, texts)
  const headers = { 'cache-control': 'max-age=60', 'idempotency-key': 'k', 'x-request-id': 'mine', prefer: 'wait=3' }
  for (const got of received) t.match(got.headers, { ...headers, 'x-api-key': 'SG_gw' })
})

t.test('bytes of any kind are hashed once', async t => {
  const { url, received } = await fakeGateway(t, picture)
  const { client } = clientOf(url)
  const bytes = new Uint8Array([0, 1, 2, 3]).subarray(1)
  for (const image of [bytes, new Blob([bytes]), bytes.slice().buffer]) {
    const phases: string[] = []
    const onProgress = ({ phase }: Progress) => phases.push(phase)
    await client.segment(image, { prompt: 'a' }, { onProgress })
    await client.segment(image, { prompt: 'b' }, { onProgress })
    t.strictSame(phases, ['hashing', 'requesting', 'receiving', 'requesting', 'receiving'])
  }
  const ids = new Set(received.map(({ body }) => JSON.parse(String(body)).image))
  t.strictSame([...ids], ['sha256:039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81'])
})

t.test('an id or a URL is sent unchanged, without a fallback to bytes', async t => {
  for (const image of [ID, 'https://example.com/dog.jpg']) {
    const { url, received } = await fakeGateway(t, unknown)
    await t.rejects(clientOf(url).client.segment(image, { prompt: 'dog' }), { code: 'unknown_image' })
    t.strictSame(
      received.map(({ body }) => JSON.parse(String(body))),
      [{ image, prompt: 'dog' }],
    )
  }
})

t.test('the global fetch is called with the this value that browsers require', async t => {
  const { url } = await fakeGateway(t, picture)
  const { fetch } = globalThis
  t.intercept(globalThis, 'fetch', {
    value(this: unknown, ...given: Parameters<typeof fetch>) {
      if (this !== undefined && this !== globalThis) throw new TypeError('Illegal invocation')
      return fetch(...given)
    },
  })
  t.equal((await createClient({ url, key: 'k' }).segment(ID, { prompt: 'dog' })).cost, 0.0017)
})

/** Installs an XMLHttpRequest whose requests `script` completes. */
function installXhr(t: import('tap').Test, script: (request: FakeRequest) => void) {
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

t.test('browsers upload with XMLHttpRequest if progress is requested', async t => {
  const { url, received } = await fakeGateway(t, unknown)
  const requests: FakeRequest[] = []
  installXhr(t, request => {
    requests.push(request)
    request.upload.onprogress?.({ loaded: 5, total: 9 })
    request.status = 200
    request.response = new Blob(['PNG'])
    request.onload?.()
  })
  const sent: Progress[] = []
  const onProgress = (progress: Progress) => sent.push(progress)
  const answer = await clientOf(url).client.segment(new Uint8Array(9), { prompt: 'dog' }, { onProgress })
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

t.test('browsers use fetch without progress or with a custom fetch', async t => {
  installXhr(t, () => t.fail('XMLHttpRequest was used'))
  for (const [more, options] of [[{ fetch }, { onProgress: () => {} }] as const, [{}, {}] as const]) {
    const { url } = await fakeGateway(t, unknown, picture)
    t.equal((await clientOf(url, more).client.segment(new Uint8Array(9), { prompt: 'dog' }, options)).cost, 0.0017)
  }
})

t.test('an upload with XMLHttpRequest can be aborted and is retried after a network failure', async t => {
  const reason = new Error('enough')
  const controller = new AbortController()
  const scripts = [(request: FakeRequest) => request.onerror?.(), (_: FakeRequest) => controller.abort(reason)]
  installXhr(t, request => scripts.shift()?.(request))
  const { url } = await fakeGateway(t, unknown)
  const { client, waits } = clientOf(url)
  const options = { signal: controller.signal, onProgress: () => {} }
  await t.rejects(client.segment(new Uint8Array(9), { prompt: 'dog' }, options), reason)
  t.equal(waits.length, 1)
  t.equal(scripts.length, 0)
})
