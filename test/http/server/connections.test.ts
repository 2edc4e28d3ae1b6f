import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { Connections, type ConnectionsOptions } from '../../../src/http/server/connections.js'
import { eventually } from '../../support/eventually.js'
import { connectTo } from '../../support/gateway/raw-client.js'

interface World {
  url: string
  connections: Connections
  /** Moves the clock and applies the time limits. */
  pass(ms: number): void
  /** Requests that were passed on and are not answered yet. */
  open: { request: IncomingMessage; response: ServerResponse }[]
  server: Server
  /** The gateway's side of each connection. */
  sockets: Socket[]
  slow: Socket[]
}

const GET = 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'
const LARGE = Buffer.alloc(32 * 1024 ** 2)

async function world(
  t: { teardown(close: () => unknown): void },
  limits: Partial<ConnectionsOptions> = {},
): Promise<World> {
  const clock = { now: 0 }
  const connections = new Connections({
    max: 0,
    maxPerAddress: 0,
    isTrusted: () => false,
    now: () => clock.now,
    ...limits,
  })
  const open: World['open'] = []
  const slow: Socket[] = []
  const server = createServer((request, response) =>
    connections.dispatch(request, response, () => {
      open.push({ request, response })
      if (request.headers['x-api-key']) connections.accept(request.socket)
    }),
  )
  connections.guard(server, socket => {
    slow.push(socket)
    socket.destroy()
  })
  const sockets: Socket[] = []
  server.on('connection', socket => sockets.push(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const pass = (ms: number) => {
    clock.now += ms
    connections.check()
  }
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url, connections, pass, open, server, sockets, slow }
}

const isOpen = (client: Awaited<ReturnType<typeof connectTo>>) => Promise.race([client.ended.then(() => false), true])

t.test('of thousands of pipelined requests, four run at once, and all are answered in order', async t => {
  const { url, open } = await world(t)
  const client = await connectTo(url)
  const paths = Array.from({ length: 1_500 }, (_, index) => `/${index}`)
  client.send(paths.map(path => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`).join(''))
  client.end()
  const seen: (string | undefined)[] = []
  let most = 0
  while (seen.length < paths.length) {
    await eventually('no request arrived', () => open.length > 0)
    most = Math.max(most, open.length)
    const { request, response } = open.shift() as World['open'][number]
    seen.push(request.url)
    response.end()
    await once(response, 'close')
  }
  t.same(seen, paths)
  t.equal(most, 4)
  t.equal((await client.ended).split('HTTP/1.1 200').length - 1, paths.length)
})

t.test('pipelined requests that wait are limited over all connections', async t => {
  const { url, open, connections, sockets } = await world(t)
  const clients = await Promise.all(Array.from({ length: 8 }, () => connectTo(url)))
  for (const client of clients) client.send(GET.repeat(2_400))
  await eventually('no connection was ended', () => connections.count().anonymous <= 4)
  t.ok(open.length <= 8 * 4)
  const late = await connectTo(url)
  late.send(GET.repeat(20))
  await eventually('a small pipeline was not served', () => open.at(-1)?.request.socket === sockets[8])
  t.ok(await isOpen(late), 'a connection with few waiting requests stays')
  for (const client of [...clients, late]) client.destroy()
  await eventually('connections remain', () => connections.count().anonymous === 0)
})

t.test('at the limit, the keyless connection that was silent longest makes room', async t => {
  const { url, open, connections, pass, sockets } = await world(t, { max: 3 })
  const keyed = await connectTo(url)
  keyed.send('GET / HTTP/1.1\r\nhost: x\r\nx-api-key: k\r\n\r\n')
  await eventually('no request arrived', () => open.length === 1)
  // `active` opens first, and sends last.
  const active = await connectTo(url)
  const silent = await connectTo(url)
  await eventually('not connected', () => connections.count().anonymous === 2)
  active.send('GET ')
  await eventually('no byte arrived', () => sockets[1]?.bytesRead === 4)
  pass(1)
  const newcomer = await connectTo(url)
  await silent.ended
  t.ok(await isOpen(active))
  t.ok(await isOpen(keyed))
  t.ok(await isOpen(newcomer))
})

t.test('where every connection has an accepted key, a new one is refused', async t => {
  const { url, open, connections } = await world(t, { maxPerAddress: 2 })
  const keyed = [await connectTo(url), await connectTo(url)]
  for (const client of keyed) client.send('GET / HTTP/1.1\r\nhost: x\r\nx-api-key: k\r\n\r\n')
  await eventually('no key was accepted', () => open.length === 2)
  const refused = await connectTo(url).catch(() => undefined)
  t.equal(await refused?.ended.catch(() => ''), refused && '')
  t.same(connections.count(), { authenticated: 2, anonymous: 0 })
  for (const client of keyed) t.ok(await isOpen(client))
})

t.test('a trusted proxy may open more connections than one client', async t => {
  const { url, connections } = await world(t, { maxPerAddress: 1, isTrusted: address => address === '127.0.0.1' })
  await Promise.all([connectTo(url), connectTo(url), connectTo(url)])
  await eventually('not connected', () => connections.count().anonymous === 3)
})

t.test('a silent connection lives 10 s before its first accepted key', async t => {
  const { url, open, connections, pass } = await world(t)
  const [silent, keyed] = [await connectTo(url), await connectTo(url)]
  keyed.send('GET / HTTP/1.1\r\nhost: x\r\nx-api-key: k\r\n\r\n')
  await eventually('no request arrived', () => open.length === 1 && connections.count().anonymous === 1)
  open[0]?.response.end()
  await keyed.until(/200/)
  pass(9_999)
  t.ok(await isOpen(silent))
  pass(1)
  t.equal(await silent.ended, '')
  t.ok(await isOpen(keyed))
})

t.test('a response announces how long its connection may be idle', async t => {
  const { url, open } = await world(t)
  const client = await connectTo(url)
  const keyed = 'GET / HTTP/1.1\r\nx-api-key: a\r\nhost: x\r\n\r\n'
  for (const [index, request] of [GET, keyed, GET].entries()) {
    client.send(request)
    const { response } = await eventually('the request never arrived', () => open.shift())
    response.end(`body ${index}`)
    await client.until(new RegExp(`body ${index}`))
  }
  const text = await client.until(/body 2/)
  t.strictSame(
    [...text.matchAll(/keep-alive: timeout=(\d+)/gi)].map(([, seconds]) => seconds),
    ['9', '75', '75'],
  )
})

t.test('an idle connection keeps nothing of its requests', async t => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const { url, open } = await world(t)
  const client = await connectTo(url)
  const answer = async (): Promise<WeakRef<object>[]> => {
    client.send('POST / HTTP/1.1\r\nx-api-key: a\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody')
    const { request, response } = await eventually('the request never arrived', () => open.shift())
    await once(request.resume(), 'end')
    response.end('answer')
    await once(response, 'close')
    return [new WeakRef(request), new WeakRef(response)]
  }
  const first = await answer()
  await client.until(/answer/)
  await eventually('the connection kept a request', () => {
    collectGarbage()
    return first.every(ref => ref.deref() === undefined)
  })
})

t.test('a keyless request that is being answered is not silent', async t => {
  const { url, open, pass } = await world(t)
  const client = await connectTo(url)
  client.send(GET)
  await eventually('no request arrived', () => open.length === 1)
  pass(9_000)
  pass(9_000)
  t.ok(await isOpen(client))
  open[0]?.response.end()
  await client.until(/200/)
  pass(10_000)
  await client.ended
})

const POST = 'POST / HTTP/1.1\r\nhost: x\r\nx-api-key: k\r\ncontent-length: 10000000\r\n\r\n'

t.test('a body slower than 16 KiB/s ends after a grace of 10 s', async t => {
  const { url, open, pass, slow } = await world(t)
  const client = await connectTo(url)
  client.send(POST)
  await eventually('no request arrived', () => open.length === 1)
  open[0]?.request.resume()
  pass(0)
  pass(10_000)
  client.send('x'.repeat(1_000))
  await eventually('no byte arrived', () => (open[0]?.request.socket.bytesRead ?? 0) > 1_000)
  pass(9_999)
  t.equal(slow.length, 0)
  pass(1)
  t.equal(slow.length, 1)
  await client.ended
})

t.test('a body of 16 KiB/s continues, and so does one that the gateway has not read', async t => {
  const { url, open, pass, slow } = await world(t)
  const client = await connectTo(url)
  client.send(POST)
  await eventually('no request arrived', () => open.length === 1)
  const { request } = open[0] as World['open'][number]
  request.resume()
  pass(0)
  for (let interval = 0; interval < 3; interval++) {
    const { bytesRead } = request.socket
    pass(10_000)
    client.send('x'.repeat(163_840))
    await eventually('the bytes did not arrive', () => request.socket.bytesRead >= bytesRead + 163_840)
  }
  request.pause()
  client.send('x'.repeat(10_000))
  await eventually('nothing is buffered', () => request.readableLength > 0)
  for (let interval = 0; interval < 3; interval++) pass(10_000)
  t.equal(slow.length, 0)
  client.destroy()
})

t.test('a body that continues after its response ends after 10 s', async t => {
  const { url, open, pass } = await world(t)
  const client = await connectTo(url)
  client.send(POST)
  await eventually('no request arrived', () => open.length === 1)
  open[0]?.request.resume()
  open[0]?.response.end()
  await client.until(/200/)
  pass(9_999)
  t.ok(await isOpen(client))
  pass(1)
  await client.ended
})

t.test('a response that its client does not read is ended; one still in work is not', async t => {
  const { url, open, server, connections } = await world(t)
  server.setTimeout(50)
  const clients = [connect(Number(new URL(url).port)), connect(Number(new URL(url).port))]
  t.teardown(() => {
    for (const client of clients) client.destroy()
  })
  for (const client of clients) client.write(GET)
  await eventually('no request arrived', () => open.length === 2)
  const [unread, waiting] = open.map(({ response }) => response) as [ServerResponse, ServerResponse]
  unread.end(LARGE)
  await eventually('the unread response was not ended', () => unread.destroyed)
  t.equal(waiting.destroyed, false)
  t.equal(connections.count().anonymous, 1)
})
