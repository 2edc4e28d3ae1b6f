import { createHash } from 'node:crypto'
import sharp from 'sharp'
import t from 'tap'
import { otherJpeg } from '../fixtures/jpeg.js'
import { turnedJpeg } from '../fixtures/odd-images.js'
import { startTestGateway } from '../support/gateway/gateway.js'
import { connectTo } from '../support/gateway/raw-client.js'

/** A photo of about 5 MB. */
function largeJpeg(): Promise<Buffer> {
  const noise = { type: 'gaussian' as const, mean: 128, sigma: 60 }
  return sharp({ create: { width: 2_000, height: 1_500, channels: 3, background: '#000', noise } })
    .jpeg({ quality: 100 })
    .toBuffer()
}

t.test('50 requests for one photo upload it once', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const photo = await largeJpeg()
  t.ok(photo.length > 4_000_000, `${photo.length} bytes`)
  const first = await gateway.segment({ coordinates: '[[0,0]]' }, { image: photo })
  const id = first.headers.get('x-image-id')
  t.equal(first.status, 200)
  for (const round of ['bought', 'found']) {
    for (let click = 1; click < 50; click++) {
      const body = JSON.stringify({ image: id, coordinates: [[click, click]] })
      t.ok(body.length < 200, 'each click sends a few bytes')
      const headers = { 'content-type': 'application/json' }
      const answer = await gateway.fetch('/segment', { method: 'POST', headers, body })
      await answer.arrayBuffer()
      t.equal(answer.headers.get('x-cache'), round === 'bought' ? 'MISS' : 'HIT')
    }
  }
  const uploaded = Number(/upload_bytes_total\{team="vision"\} (\d+)/.exec(await gateway.metrics())?.[1])
  t.ok(uploaded < photo.length + 98 * 200 + 1_000, `${uploaded} bytes for a photo of ${photo.length}`)
  t.equal(gateway.upstream.calls.length, 50)
  t.ok(gateway.upstream.calls.every(({ image }) => image.byteLength === photo.length))
})

t.test('a stored image can be named by id until it is deleted', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const photo = await otherJpeg(5)
  const form = new FormData()
  form.set('image', new Blob([new Uint8Array(photo)]))
  const kept = (await (await gateway.fetch('/images', { method: 'POST', body: form })).json()) as {
    image: string
    expires: string
  }
  t.match(kept, { width: 16, height: 8, orientation: 1, type: 'image/jpeg', bytes: photo.length })
  t.equal(kept.image, `sha256:${createHash('sha256').update(photo).digest('hex')}`)
  t.ok(Date.parse(kept.expires) > Date.now() + 86_000_000)
  const ask = () => gateway.fetch('/segment', jsonOf({ image: kept.image, prompt: 'dog' }))
  t.equal((await ask()).status, 200)
  t.equal((await gateway.fetch(`/images/${kept.image}`, { method: 'DELETE' })).status, 204)
  t.equal((await gateway.fetch(`/images/${kept.image}`, { method: 'HEAD' })).status, 404)
  t.equal((await ask()).status, 200, 'its results stay')
  const other = await gateway.fetch('/segment', jsonOf({ image: kept.image, prompt: 'cat' }))
  t.match(await other.json(), { code: 'unknown_image', billed: 'no' })
})

t.test('under CACHE_SCOPE=team only the team of an image can use it', async t => {
  const gateway = await startTestGateway({ env: { CACHE_SCOPE: 'team' }, teams: { red: {}, blue: {} } })
  t.teardown(gateway.stop)
  const { headers } = await gateway.segment({ prompt: 'dog' }, { team: 'red' })
  const path = `/images/${headers.get('x-image-id')}`
  const as = (team: string, method: string) =>
    gateway.fetch(path, { method, headers: { 'x-api-key': gateway.keys[team] ?? '' } })
  t.equal((await as('red', 'HEAD')).status, 200)
  t.equal((await as('blue', 'HEAD')).status, 404)
  t.equal((await as('blue', 'DELETE')).status, 404)
  t.equal((await as('red', 'DELETE')).status, 204)
})

function jsonOf(fields: object): RequestInit {
  return { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(fields) }
}

const sha256 = (body: string | Buffer) => `sha-256=:${createHash('sha256').update(body).digest('base64')}:`

/** Bodies of each form that can be sent twice with equal bytes. */
async function bodies(): Promise<[type: string, body: Buffer][]> {
  const photo = await otherJpeg(9)
  const part = (name: string, value: Buffer | string) => [
    `--edge\r\ncontent-disposition: form-data; name="${name}"${name === 'image' ? '; filename="a.jpg"' : ''}\r\n\r\n`,
    value,
    '\r\n',
  ]
  const parts = [...part('prompt', 'a form'), ...part('image', photo), '--edge--\r\nepilogue']
  return [
    ['application/json', Buffer.from(JSON.stringify({ image: photo.toString('base64'), prompt: 'json' }))],
    ['multipart/form-data; boundary=edge', Buffer.concat(parts.map(each => Buffer.from(each)))],
  ]
}

for (const field of ['Content-Digest', 'Repr-Digest'])
  t.test(`a body with a known ${field} need not be sent if its result is cached`, async t => {
    const gateway = await startTestGateway()
    t.teardown(gateway.stop)
    for (const [type, body] of await bodies()) {
      const head = (extra = '', path = '/segment') =>
        `POST ${path} HTTP/1.1\r\nhost: x\r\nx-api-key: ${gateway.key}\r\ncontent-type: ${type}\r\n` +
        `content-length: ${body.length}\r\n${field}: ${sha256(body)}\r\nexpect: 100-continue\r\n${extra}\r\n`
      const first = await connectTo(gateway.url)
      first.send(head('connection: close\r\n'))
      await first.until(/^HTTP\/1.1 100 Continue/)
      first.send(body)
      t.match(await first.ended, /HTTP\/1.1 200 OK.*x-cache: MISS/s)
      // The body's question is stored after the response.
      let second = ''
      while (!/^HTTP\/1.1 200/.test(second)) {
        const client = await connectTo(gateway.url)
        client.send(head())
        second = await client.until(/^HTTP\/1.1 (100|200)/)
        if (!/^HTTP\/1.1 200/.test(second)) client.destroy()
        else second = await client.ended
      }
      t.match(second, /x-cache: HIT/)
      t.match(second, /connection: close/i, 'the unread body would precede the next request')
      for (const request of [head('cache-control: no-cache\r\n'), head('', '/segment/quote')]) {
        const third = await connectTo(gateway.url)
        third.send(request)
        t.match(await third.until(/^HTTP/), /100 Continue/, 'this request needs its body')
        third.destroy()
      }
      const unauthorized = await connectTo(gateway.url)
      unauthorized.send(head().replace(gateway.key, 'wrong'))
      t.match(await unauthorized.until(/^HTTP.*\r\n/s), /401 Unauthorized/)
      unauthorized.destroy()
    }
    t.equal(gateway.upstream.calls.length, 2)
  })

t.test('a body that does not match its digest header is rejected and buys nothing', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  for (const [type, body] of await bodies()) {
    for (const headers of [
      { 'content-digest': sha256('another body') },
      { 'repr-digest': 'sha-256=nonsense' },
      { 'content-digest': sha256(body), 'repr-digest': sha256('another body') },
    ]) {
      const init = { method: 'POST', headers: { 'content-type': type, ...headers }, body: new Uint8Array(body) }
      const answer = await gateway.fetch('/segment', init as unknown as RequestInit)
      t.match(await answer.json(), { status: 400, code: 'invalid_request', detail: /digest/i })
    }
  }
  t.equal(gateway.upstream.calls.length, 0)
})

t.test('an unknown image is reported at once, also with respond-async', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const init = {
    method: 'POST',
    headers: { 'content-type': 'application/json', prefer: 'respond-async, wait=0' },
    body: JSON.stringify({ image: `sha256:${'0'.repeat(64)}`, prompt: 'dog' }),
  }
  const answer = await gateway.fetch('/segment', init)
  t.equal(answer.status, 404)
  t.match(await answer.json(), { code: 'unknown_image' })
})

t.test('a turned photo has the size that its viewers see, unless Segmind ignores the orientation', async t => {
  for (const [rule, expected] of [
    ['applied', { width: 20, height: 40, orientation: 6 }],
    ['ignored', { width: 40, height: 20, orientation: 1 }],
  ] as const) {
    const gateway = await startTestGateway({ env: { IMAGE_ORIENTATION: rule } })
    t.teardown(gateway.stop)
    const form = new FormData()
    form.set('image', new Blob([new Uint8Array(await turnedJpeg(40, 20, 6))]))
    t.match(await (await gateway.fetch('/images', { method: 'POST', body: form })).json(), expected)
  }
})
