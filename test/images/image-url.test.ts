import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import type { GatewayError } from '../../src/contracts/errors.js'
import { createImageFetcher, type ImageFetcher, type ImageFetcherOptions } from '../../src/images/image-url.js'
import { smallJpeg } from '../fixtures/odd-images.js'

const jpeg = await smallJpeg()
const LOOPBACK = ['127.0.0.0/8']

async function serve(t: Test, listener: RequestListener): Promise<{ origin: string; port: number }> {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    return new Promise(resolve => server.close(resolve))
  })
  const { port } = server.address() as AddressInfo
  return { origin: `http://127.0.0.1:${port}`, port }
}

function fetcher(t: Test, options: Partial<ImageFetcherOptions> = {}): ImageFetcher {
  const made = createImageFetcher({
    enabled: true,
    hosts: LOOPBACK,
    maxImageBytes: 10_000,
    timeoutMs: 5000,
    ...options,
  })
  t.teardown(() => made.close())
  return made
}

/** A resolver that returns the items of a list in order, and then the last one again. */
function resolverOf(...answers: string[][]): { lookup: NonNullable<ImageFetcherOptions['lookup']>; lookups: string[] } {
  const lookups: string[] = []
  const lookup = async (hostname: string) => {
    const answer = answers[Math.min(lookups.length, answers.length - 1)] ?? []
    lookups.push(hostname)
    return answer.map(address => ({ address, family: address.includes(':') ? 6 : 4 }))
  }
  return { lookup, lookups }
}

t.test('an image is fetched, typed by its bytes and hashed', async t => {
  const requests: IncomingMessage[] = []
  const { origin } = await serve(t, (request, response) => {
    requests.push(request)
    response.setHeader('content-type', 'text/html')
    for (let at = 0; at < jpeg.length; at += 50) response.write(jpeg.subarray(at, at + 50))
    response.end()
  })
  const image = await fetcher(t).fetchImage(`${origin}/a.gif?x=1#y`)
  t.match(image, { type: 'jpeg', byteLength: jpeg.length, digest: createHash('sha256').update(jpeg).digest('hex') })
  t.ok(Buffer.concat(image.chunks).equals(jpeg))
  t.equal(requests[0]?.url, '/a.gif?x=1')
  t.equal(requests[0]?.headers['accept-encoding'], 'identity')
  t.equal(requests[0]?.headers.connection, 'close')
  t.equal(requests[0]?.headers.cookie, undefined)
  t.equal(requests[0]?.headers.authorization, undefined)
})

t.test('without IMAGE_URLS no URL is fetched', async t => {
  const { lookup, lookups } = resolverOf(['127.0.0.1'])
  const closed = fetcher(t, { enabled: false, lookup })
  await t.rejects(closed.fetchImage('http://img.example/'), { code: 'image_url_refused' })
  t.same(lookups, [])
})

t.test('no request goes to an address that is not public, whether literal or behind a name', async t => {
  let requests = 0
  const { port } = await serve(t, (_, response) => {
    requests++
    response.end(jpeg)
  })
  const refusal = { code: 'image_url_refused', message: /has an address that/ }
  const guarded = fetcher(t, { hosts: ['localhost', '10.0.0.0/8'] })
  for (const host of ['127.0.0.1', '127.1', '0x7f.1', '2130706433', '[::ffff:127.0.0.1]', 'localhost', '0.0.0.0']) {
    await t.rejects(guarded.fetchImage(`http://${host}:${port}/`), refusal, host)
    await t.rejects(fetcher(t, { hosts: [] }).fetchImage(`http://${host}/`), refusal, `${host}, nothing listed`)
  }
  for (const addresses of [
    ['127.0.0.1'],
    ['93.184.216.34', '127.0.0.1'],
    ['::1'],
    ['::ffff:127.0.0.1'],
    ['fe80::1'],
    [],
  ]) {
    const { lookup } = resolverOf(addresses)
    const listed = fetcher(t, { hosts: ['img.example'], lookup })
    await t.rejects(listed.fetchImage(`http://img.example:${port}/`), refusal, addresses.join())
    const open = fetcher(t, { hosts: [], lookup })
    await t.rejects(open.fetchImage('http://img.example/'), refusal, `${addresses.join()}, nothing listed`)
  }
  t.equal(requests, 0)
})

t.test('a port other than 80 and 443 is refused before its host is resolved', async t => {
  const { lookup, lookups } = resolverOf(['93.184.216.34'])
  const refusal = { code: 'image_url_refused', message: /port/ }
  await t.rejects(fetcher(t, { hosts: [], lookup }).fetchImage('http://img.example:8080/'), refusal)
  t.same(lookups, [])
})

t.test('text that is not a URL is refused', async t => {
  await t.rejects(fetcher(t).fetchImage('http://'), { code: 'image_url_refused' })
  await t.rejects(fetcher(t).fetchImage('ftp://127.0.0.1/'), { code: 'image_url_refused' })
})

t.test('a name is resolved once per connection, which goes to the address that was checked', async t => {
  const { port } = await serve(t, (_, response) => response.end(jpeg))
  const { lookup, lookups } = resolverOf(['127.0.0.1'], ['10.0.0.1'])
  const rebound = fetcher(t, { lookup })
  t.match(await rebound.fetchImage(`http://img.example:${port}/`), { type: 'jpeg' })
  t.same(lookups, ['img.example'], 'no second lookup between check and connection')
  await t.rejects(
    rebound.fetchImage(`http://img.example:${port}/`),
    { code: 'image_url_refused' },
    'the next request is checked again',
  )
})

t.test('redirects are followed, and each is checked like the first URL', async t => {
  const elsewhere: Record<string, string> = {
    '/relative': 'image',
    '/chain': '/relative',
    '/private': 'http://10.0.0.1/',
    '/metadata': 'http://169.254.169.254/latest/',
    '/localhost': 'http://[::1]/',
    '/file': 'file:///etc/passwd',
    '/secret': 'http://user:secret@127.0.0.1/',
    '/loop': '/loop',
    '/broken': 'http://[',
  }
  const visited: string[] = []
  const closed: Promise<unknown>[] = []
  const { origin, port } = await serve(t, (request, response) => {
    const { url = '' } = request
    visited.push(url)
    closed.push(new Promise(resolve => request.socket.once('close', resolve)))
    const location = elsewhere[url]
    if (url === '/nowhere') response.writeHead(302).end()
    else if (location === undefined) response.end(jpeg)
    else response.writeHead(url === '/chain' ? 308 : 302, { location }).end('moved'.repeat(1_000_000))
  })
  const following = fetcher(t, { timeoutMs: 600_000 })
  t.match(await following.fetchImage(`${origin}/chain`), { type: 'jpeg' })
  t.same(visited, ['/chain', '/relative', '/image'])
  await Promise.all(closed)
  for (const path of ['/private', '/metadata', '/localhost', '/file', '/secret']) {
    await t.rejects(following.fetchImage(origin + path), { code: 'image_url_refused' }, path)
  }
  for (const path of ['/broken', '/nowhere']) {
    await t.rejects(following.fetchImage(origin + path), { code: 'image_url_failed' }, path)
  }
  visited.length = 0
  await t.rejects(following.fetchImage(`${origin}/loop`), { code: 'image_url_failed', message: /more than 5 times/ })
  t.equal(visited.length, 6)

  const { lookup, lookups } = resolverOf(['127.0.0.1'], ['192.168.0.1'])
  const rebound = fetcher(t, { lookup })
  await t.rejects(rebound.fetchImage(`http://img.example:${port}/chain`), { code: 'image_url_refused' })
  t.same(lookups, ['img.example', 'img.example'], 'the second hop is resolved and checked again')
})

t.test('a response that is not an image fails, and the error does not quote it', async t => {
  const answers: Record<string, (response: ServerResponse) => void> = {
    missing: response => response.writeHead(404).end('secret'),
    partial: response => response.writeHead(206).end(jpeg),
    empty: response => response.writeHead(204).end(),
    unchanged: response => response.writeHead(304).end(),
    error: response => response.writeHead(500, { 'x-secret': 'secret' }).end('secret'),
    zipped: response => response.writeHead(200, { 'content-encoding': 'gzip' }).end(jpeg),
    page: response => response.end('<html>secret</html>'),
    nothing: response => response.end(),
    cut: response => {
      response.writeHead(200, { 'content-length': jpeg.length })
      response.write(jpeg.subarray(0, 100), () => response.socket?.destroy())
    },
    cutchunk: response => {
      response.write(jpeg.subarray(0, 100), () => response.socket?.destroy())
    },
    hangup: response => response.socket?.destroy(),
    nonsense: response => response.socket?.end('SSH-2.0-OpenSSH_9.9 secret\r\n'),
  }
  const { origin } = await serve(t, (request, response) => answers[request.url?.slice(1) ?? '']?.(response))
  const cases: [string, string, RegExp][] = [
    ['missing', 'image_url_failed', /status 404/],
    ['partial', 'image_url_failed', /status 206/],
    ['empty', 'image_url_failed', /status 204/],
    ['unchanged', 'image_url_failed', /status 304/],
    ['error', 'image_url_failed', /status 500/],
    ['zipped', 'image_url_failed', /Content-Encoding/],
    ['page', 'unsupported_image', /image URL/],
    ['nothing', 'unsupported_image', /image URL/],
    ['cut', 'image_url_failed', /the connection or the response failed/],
    ['cutchunk', 'image_url_failed', /the connection or the response failed/],
    ['hangup', 'image_url_failed', /the connection or the response failed/],
    ['nonsense', 'image_url_failed', /the connection or the response failed/],
  ]
  const fetching = fetcher(t)
  for (const [path, code, message] of cases) {
    const error = await fetching.fetchImage(`${origin}/${path}`).catch((reason: unknown) => reason as GatewayError)
    t.match(error, { name: 'GatewayError', code, message }, path)
    t.notMatch((error as GatewayError).message, /secret/)
  }
})

t.test('a host that cannot be reached or resolved fails with image_url_failed', async t => {
  const { port } = await serve(t, () => {})
  const unknown = fetcher(t, { lookup: () => Promise.reject(new Error('ENOTFOUND')) })
  await t.rejects(unknown.fetchImage('http://img.example/'), { code: 'image_url_failed' })
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const free = (server.address() as AddressInfo).port
  await new Promise(resolve => server.close(resolve))
  await t.rejects(fetcher(t).fetchImage(`http://127.0.0.1:${free}/`), { code: 'image_url_failed' })
  await t.rejects(
    fetcher(t).fetchImage(`https://127.0.0.1:${port}/`),
    { code: 'image_url_failed' },
    'no TLS on that port',
  )
})

t.test('too many bytes are refused, declared or not, and the connection is closed', async t => {
  const closed: Promise<unknown>[] = []
  let sent = 0
  const { origin } = await serve(t, (request, response) => {
    closed.push(new Promise(resolve => request.socket.once('close', resolve)))
    if (request.url === '/announced') response.writeHead(200, { 'content-length': 10_001 })
    if (request.url === '/exact') {
      response.end(Buffer.concat([jpeg, Buffer.alloc(10_000 - jpeg.length)]))
      return
    }
    const more = (): void => {
      sent += 1000
      if (!response.destroyed) response.write(Buffer.alloc(1000), () => setImmediate(more))
    }
    if (request.url === '/endless') more()
    else response.flushHeaders()
  })
  const fetching = fetcher(t)
  for (const path of ['/announced', '/endless']) {
    await t.rejects(fetching.fetchImage(origin + path), { code: 'image_too_large', message: /10000 bytes/ }, path)
  }
  t.match(await fetching.fetchImage(`${origin}/exact`), { byteLength: 10_000 })
  await Promise.all(closed)
  t.ok(sent < 100_000_000)
})

t.test('the timeout covers silence, a slow body and redirects together', async t => {
  const { origin } = await serve(t, (request, response) => {
    if (request.url === '/silent') return
    if (request.url === '/redirect') {
      response.writeHead(302, { location: '/silent' }).end()
      return
    }
    response.write(jpeg.subarray(0, 10))
  })
  const impatient = fetcher(t, { timeoutMs: 150 })
  for (const path of ['/silent', '/redirect', '/slow']) {
    await t.rejects(impatient.fetchImage(origin + path), { code: 'image_url_failed', message: /within 150 ms/ }, path)
  }
  const resolving = fetcher(t, { timeoutMs: 150, lookup: () => new Promise(() => {}) })
  await t.rejects(resolving.fetchImage('http://img.example/'), { code: 'image_url_failed', message: /within 150 ms/ })
})

t.test('close aborts the fetches under way', async t => {
  let arrived = (): void => {}
  const lookups = new Promise<void>(resolve => {
    arrived = resolve
  })
  const { origin } = await serve(t, () => arrived())
  const closing = fetcher(t)
  const rejected = t.rejects(closing.fetchImage(`${origin}/`), { code: 'image_url_failed' })
  await lookups
  await closing.close()
  await rejected
})
