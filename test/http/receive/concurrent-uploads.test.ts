import { createHash } from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { type Holder, type MemoryHold, TransferMemory } from '../../../src/http/receive/transfer-memory.js'
import { smallJpeg } from '../../fixtures/odd-images.js'
import { eventually } from '../../support/eventually.js'
import { type LogLine, startTestGateway, type TestGateway } from '../../support/gateway/gateway.js'
import { ask, connectTo } from '../../support/gateway/raw-client.js'
import { startRedis } from '../../support/programs/redis-server.js'

const image = await smallJpeg()
const text = image.toString('base64')
const JSON_TYPE = 'content-type: application/json\r\n'

/** Observes the memory of the next gateway. */
function watchMemory(t: Test) {
  const { hold } = TransferMemory.prototype
  let memory: TransferMemory | undefined
  let holds = 0
  t.intercept(TransferMemory.prototype, 'hold', {
    value(this: TransferMemory, team: Holder): MemoryHold {
      memory = this
      holds++
      return hold.call(this, team)
    },
  })
  const heldBytes = () => memory?.heldBytes ?? 0
  return {
    heldBytes,
    holds: () => holds,
    free: () => eventually('upload memory was never released', () => heldBytes() === 0),
  }
}

const head = (gateway: TestGateway, fields: string) =>
  `POST /segment HTTP/1.1\r\nhost: x\r\nx-api-key: ${gateway.key}\r\n${fields}\r\n`

const requests = (gateway: TestGateway) => gateway.log().filter(({ msg }) => msg === 'request')

const post = (gateway: TestGateway, fields: object) =>
  ask(`${gateway.url}/segment`, {
    method: 'POST',
    headers: { 'x-api-key': gateway.key, 'content-type': 'application/json' },
    body: JSON.stringify(fields),
  })

/** Starts an image server. The test answers each request. */
async function startSite(t: Test) {
  const responses: ServerResponse[] = []
  const site = createServer((_request, response) => void responses.push(response))
  await new Promise<void>(resolve => void site.listen(0, '127.0.0.1', resolve))
  t.teardown(() => site.close())
  return { responses, url: `http://127.0.0.1:${(site.address() as AddressInfo).port}/` }
}

t.test('a client that disconnects during the rate check books no memory', async t => {
  const redis = await startRedis()
  t.teardown(redis.close)
  const memory = watchMemory(t)
  // So low that every request asks Redis.
  const teams = { vision: { limits: { requests_per_minute: 60 } } }
  const gateway = await startTestGateway({ redisUrl: redis.url, teams })
  t.teardown(gateway.stop)
  t.equal((await gateway.segment()).status, 200)
  await memory.free()
  const holds = memory.holds()
  redis.freeze()
  const client = await connectTo(gateway.url)
  client.send(head(gateway, `x-request-id: left\r\n${JSON_TYPE}content-length: 25000\r\n`))
  client.destroy()
  await gateway.logged(({ requestId }) => requestId === 'left')
  redis.thaw()
  // The rate check of this request runs after that of the previous one.
  t.equal((await gateway.fetch('/usage')).status, 200)
  t.equal(memory.holds(), holds)
  t.equal(memory.heldBytes(), 0)
  t.equal(requests(gateway).filter(({ requestId }) => requestId === 'left').length, 1)
})

t.test('pipelined requests end with their connection', async t => {
  const memory = watchMemory(t)
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const gate = gateway.upstream.hold()
  const body = JSON.stringify({ image: text, prompt: 'dog' })
  const client = await connectTo(gateway.url)
  client.send(head(gateway, `x-request-id: first\r\n${JSON_TYPE}content-length: ${body.length}\r\n`) + body)
  client.send(head(gateway, `x-request-id: second\r\n${JSON_TYPE}content-length: 1000000\r\n`))
  await gateway.upstream.arrived(1)
  await eventually('the second request never began', () => memory.holds() === 2)
  client.destroy()
  for (const id of ['first', 'second']) {
    const line = await gateway.logged(({ requestId }) => requestId === id)
    t.match(line, { msg: 'request', status: 499, team: 'vision' }, id)
  }
  t.equal(memory.heldBytes(), body.length, 'the purchase in flight holds what it received')
  gate.open()
  await memory.free()
  t.equal(requests(gateway).length, 2)
  t.match(await gateway.metrics(), 'segmind_gateway_requests_total{route="/segment",team="vision",code="499"} 2')
})

t.test('many requests on one connection leave no listeners on it', async t => {
  const warnings: Error[] = []
  const onWarning = (warning: Error) => warnings.push(warning)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const memory = watchMemory(t)
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const client = await connectTo(gateway.url)
  const isLine = ({ msg, code }: LogLine) => msg === 'request' && code === 'missing_image'
  const small = (fields: string) => `${head(gateway, `${JSON_TYPE}content-length: 2\r\n${fields}`)}{}`
  client.send(small('').repeat(29) + small('connection: close\r\n'))
  await client.ended
  client.destroy()
  await memory.free()
  await gateway.stop()
  t.equal(gateway.log().filter(isLine).length, 30)
  t.strictSame(warnings, [])
})

t.test('an image is booked until its purchase ends, even if its callers have disconnected', async t => {
  const memory = watchMemory(t)
  const gateway = await startTestGateway({ env: { CLIENT_TIMEOUT_MS: '50' } })
  t.teardown(gateway.stop)
  const gate = gateway.upstream.hold()
  t.equal((await post(gateway, { image: text, prompt: 'dog' })).status, 504)
  t.equal((await gateway.segment({ prompt: 'cat' }, { headers: { 'cache-control': 'no-store' } })).status, 504)
  await gateway.logged(line => line.status === 504 && requests(gateway).length === 2)
  const received = JSON.stringify({ image: text, prompt: 'dog' }).length + image.length + 'cat'.length
  t.equal(memory.heldBytes(), received)
  gate.open()
  await memory.free()
})

t.test('an image id and an announced length book nothing', async t => {
  const memory = watchMemory(t)
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const client = await connectTo(gateway.url)
  client.send(head(gateway, `${JSON_TYPE}content-length: 20000000\r\n`))
  await eventually('the request never began', () => memory.holds() === 1)
  t.equal(memory.heldBytes(), 0)
  t.equal((await gateway.segment()).status, 200)
  const gate = gateway.upstream.hold()
  const id = createHash('sha256').update(image).digest('hex')
  const purchase = post(gateway, { image: `sha256:${id}`, prompt: 'cat' })
  await gateway.upstream.arrived(1)
  t.equal(memory.heldBytes(), 0)
  gate.open()
  t.equal((await purchase).status, 200)
  client.destroy()
})

t.test('a fetched image is booked as it arrives, until its fetch and purchase end', async t => {
  const { responses, url } = await startSite(t)
  const memory = watchMemory(t)
  const gateway = await startTestGateway({ env: { IMAGE_URL_HOSTS: '127.0.0.0/8' } })
  t.teardown(gateway.stop)
  const body = JSON.stringify({ image: url, prompt: 'dog' })
  const client = await connectTo(gateway.url)
  client.send(head(gateway, `x-request-id: left\r\n${JSON_TYPE}content-length: ${body.length}\r\n`) + body)
  await eventually('no response arrived', () => responses.length > 0)
  t.equal(memory.heldBytes(), body.length, 'nothing is booked for what may come')
  responses[0]?.write(image.subarray(0, 100))
  await eventually('no byte was booked', () => memory.heldBytes() === body.length + 100)
  client.destroy()
  await gateway.logged(({ requestId }) => requestId === 'left')
  t.equal(memory.heldBytes(), body.length + 100)
  responses[0]?.end(image.subarray(100))
  await memory.free()
})
