import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { smallJpeg } from '../../fixtures/odd-images.js'
import { startTestGateway } from '../../support/gateway/gateway.js'
import { connectTo } from '../../support/gateway/raw-client.js'

const apps: FastifyInstance[] = []
const onApp = (message: unknown) => apps.push((message as { fastify: FastifyInstance }).fastify)
subscribe('fastify.initialization', onApp)
t.teardown(() => unsubscribe('fastify.initialization', onApp))

const gateway = await startTestGateway()
t.teardown(gateway.stop)
const { server } = apps[0] as FastifyInstance
const image = (await smallJpeg()).toString('base64')

const head = (id: string, framing: string, key = gateway.key) =>
  `POST /segment HTTP/1.1\r\nhost: x\r\nx-api-key: ${key}\r\nx-request-id: ${id}\r\ncontent-type: application/json\r\n${framing}\r\n\r\n`

function whole(id: string, prompt: string): string {
  const body = JSON.stringify({ image, prompt })
  return head(id, `content-length: ${body.length}`) + body
}

const linesOf = (id: string) => gateway.log().filter(({ requestId, level }) => requestId === id && level === 'info')
const statuses = (answer: string) => [...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)

t.test('a request that times out is closed, even if its client keeps the connection half open', async t => {
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const client = await connectTo(gateway.url)
  const [socket] = await accepted
  client.send(`${head('late', 'content-length: 100')}{"image":`)
  await once(server, 'request')
  const closed = once(socket, 'close')
  // Node emits this after `requestTimeout` (five minutes).
  const error = Object.assign(new Error('Request timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' })
  server.emit('clientError', error, socket)
  await closed
  t.match(
    await client.ended,
    /^HTTP\/1\.1 408 Request Timeout\r\n.*\r\nX-Request-Id: late\r\n.*"code":"upload_timeout"/s,
  )
  t.match(await gateway.logged(({ requestId }) => requestId === 'late'), {
    msg: 'request',
    status: 408,
    code: 'upload_timeout',
    team: 'vision',
  })
  t.equal(linesOf('late').length, 1)
  t.match(await gateway.metrics(), 'segmind_gateway_requests_total{route="/segment",team="vision",code="408"} 1')
  client.destroy()
})

t.test('garbage behind a request is not answered before that request', async t => {
  const before = gateway.log().filter(({ msg }) => msg === 'not a request').length
  const gate = gateway.upstream.hold()
  const client = await connectTo(gateway.url)
  client.send(`${whole('paid', 'a dog')}\0garbage\r\n\r\n`)
  await gateway.upstream.arrived(1)
  client.send('more garbage\r\n\r\n')
  gate.open()
  const answer = await client.ended
  t.strictSame(statuses(answer), ['200'])
  t.notMatch(answer, /billed/)
  await gateway.logged(({ requestId }) => requestId === 'paid')
  t.match(linesOf('paid'), [{ msg: 'request', status: 200, cost: '0.0017' }])
  t.equal(gateway.log().filter(({ msg }) => msg === 'not a request').length, before)
  client.destroy()
})

t.test('a broken request behind another one is answered after it', async t => {
  const gate = gateway.upstream.hold()
  const client = await connectTo(gateway.url)
  const broken = `${head('broken', 'transfer-encoding: chunked')}5\r\n{"ima\r\nzz\r\n`
  client.send(whole('good', 'a cat') + broken)
  await gateway.upstream.arrived(2)
  gate.open()
  const answer = await client.ended
  t.strictSame(statuses(answer), ['200', '400'])
  t.match(answer.slice(answer.lastIndexOf('HTTP/1.1')), /\r\nX-Request-Id: broken\r\n/)
  t.match(await gateway.logged(({ requestId }) => requestId === 'broken'), { status: 400, code: 'invalid_request' })
  t.equal(linesOf('good').length + linesOf('broken').length, 2)
  client.destroy()
})

t.test('a request that was refused before its body broke is not answered twice', async t => {
  const client = await connectTo(gateway.url)
  client.send(head('refused', 'transfer-encoding: chunked', 'wrong'))
  await client.until(/"code":"unauthorized".*\}$/s)
  client.send('5\r\n{"ima\r\nzz\r\n')
  t.strictSame(statuses(await client.ended), ['401'])
  t.equal(linesOf('refused').length, 1)
  client.destroy()
})

t.test('CONNECT opens no tunnel and is not answered before an earlier request', async t => {
  const client = await connectTo(gateway.url)
  const gate = gateway.upstream.hold()
  client.send(`${whole('before', 'a cow')}CONNECT elsewhere:443 HTTP/1.1\r\nhost: elsewhere:443\r\n\r\n`)
  await gateway.upstream.arrived(3)
  gate.open()
  t.strictSame(statuses(await client.ended), ['200'])
  client.destroy()
})
