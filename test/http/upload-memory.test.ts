import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Hold, UploadBudget } from '../../src/http/upload-budget.js'
import { smallJpeg } from '../fixtures/odd-images.js'
import { type LogLine, segmentForm, startTestGateway, type TestGateway } from '../support/gateway.js'
import { ask, connectTo } from '../support/raw-client.js'
import { startRedis } from '../support/redis-server.js'

const image = await smallJpeg()
const text = image.toString('base64')
const JSON_TYPE = 'content-type: application/json\r\n'

/** Watches the one budget of the gateway that starts next. */
function watchBudget(t: Test) {
  const { hold } = UploadBudget.prototype
  const watched = { booked: [] as number[], heldBytes: () => budget?.heldBytes ?? 0, begun: (_count: number) => free() }
  let budget: UploadBudget | undefined
  async function free() {
    while (watched.heldBytes() > 0) await setImmediate()
  }
  watched.begun = async count => {
    while (watched.booked.length < count) await setImmediate()
  }
  t.intercept(UploadBudget.prototype, 'hold', {
    value(this: UploadBudget, bytes: number): Hold {
      budget = this
      const held = hold.call(this, bytes)
      watched.booked.push(bytes)
      const resize = (wanted: number) => {
        held.resize(wanted)
        watched.booked.push(wanted)
      }
      return { ...held, resize }
    },
  })
  return { ...watched, free }
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

/** A site that gives its image to whoever asks as soon as the test calls what was put in `asked`. */
async function startSite(t: Test) {
  const asked: (() => void)[] = []
  const site = createServer((_request, response) => {
    asked.push(() => response.end(image))
  })
  await new Promise<void>(resolve => void site.listen(0, '127.0.0.1', resolve))
  t.teardown(() => site.close())
  return { asked, url: `http://127.0.0.1:${(site.address() as AddressInfo).port}/` }
}

t.test('a client that left while its rate was looked up books nothing', async t => {
  const redis = await startRedis()
  t.teardown(redis.close)
  const budget = watchBudget(t)
  const gateway = await startTestGateway({ redisUrl: redis.url })
  t.teardown(gateway.stop)
  t.equal((await gateway.segment()).status, 200)
  await budget.free()
  const booked = budget.booked.length
  redis.freeze()
  const client = await connectTo(gateway.url)
  client.send(head(gateway, `x-request-id: left\r\n${JSON_TYPE}content-length: 25000\r\n`))
  client.destroy()
  await gateway.logged(({ requestId }) => requestId === 'left')
  redis.thaw()
  // Its rate is looked up after that of the one before.
  t.equal((await gateway.fetch('/usage')).status, 200)
  t.equal(budget.booked.length, booked)
  t.equal(budget.heldBytes(), 0)
  t.equal(requests(gateway).filter(({ requestId }) => requestId === 'left').length, 1)
})

t.test('requests that were sent behind another one end with their connection', async t => {
  const budget = watchBudget(t)
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const gate = gateway.upstream.hold()
  const body = JSON.stringify({ image: text, prompt: 'dog' })
  const client = await connectTo(gateway.url)
  client.send(head(gateway, `x-request-id: first\r\n${JSON_TYPE}content-length: ${body.length}\r\n`) + body)
  client.send(head(gateway, `x-request-id: second\r\n${JSON_TYPE}content-length: 1000000\r\n`))
  await gateway.upstream.arrived(1)
  await budget.begun(3)
  client.destroy()
  for (const id of ['first', 'second']) {
    const line = await gateway.logged(({ requestId }) => requestId === id)
    t.match(line, { msg: 'request', status: 499, team: 'vision' }, id)
  }
  t.equal(budget.heldBytes(), image.length, 'what is being bought needs its image')
  gate.open()
  await budget.free()
  t.equal(requests(gateway).length, 2)
  t.match(await gateway.metrics(), 'segmind_gateway_requests_total{route="/segment",team="vision",code="499"} 2')
})

t.test('many requests on one connection leave nothing behind on it', async t => {
  const warnings: Error[] = []
  const onWarning = (warning: Error) => warnings.push(warning)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const budget = watchBudget(t)
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const client = await connectTo(gateway.url)
  const isLine = ({ msg, code }: LogLine) => msg === 'request' && code === 'missing_image'
  const small = (fields: string) => `${head(gateway, `${JSON_TYPE}content-length: 2\r\n${fields}`)}{}`
  client.send(small('').repeat(29) + small('connection: close\r\n'))
  await client.ended
  client.destroy()
  await budget.free()
  await gateway.stop()
  t.equal(gateway.log().filter(isLine).length, 30)
  t.strictSame(warnings, [])
})

t.test('an image is booked as long as its purchase lasts, whoever has left', async t => {
  const budget = watchBudget(t)
  const gateway = await startTestGateway({ env: { CLIENT_TIMEOUT_MS: '50' } })
  t.teardown(gateway.stop)
  const gate = gateway.upstream.hold()
  t.equal((await post(gateway, { image: text, prompt: 'dog' })).status, 504)
  t.equal((await gateway.segment({ prompt: 'cat' }, { headers: { 'cache-control': 'no-store' } })).status, 504)
  await gateway.logged(line => line.status === 504 && requests(gateway).length === 2)
  t.equal(budget.heldBytes(), 2 * image.length)
  gate.open()
  await budget.free()
})

t.test('what is booked is what is needed: copies of text while they are read, then the image', async t => {
  const budget = watchBudget(t)
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const body = JSON.stringify({ image: text, prompt: 'dog' })
  await post(gateway, { image: text, prompt: 'dog' })
  t.strictSame(budget.booked.splice(0), [4 * body.length, image.length])

  const send = async (form: FormData) => {
    const encoded = new Response(form)
    const bytes = Buffer.from(await encoded.arrayBuffer())
    const type = encoded.headers.get('content-type') ?? ''
    const answer = await gateway.fetch('/segment', { method: 'POST', headers: { 'content-type': type }, body: bytes })
    t.equal(answer.status, 200)
    return bytes.length
  }
  const file = await send(segmentForm({ prompt: 'dog' }, image))
  t.strictSame(budget.booked.splice(0), [file, image.length])
  const form = new FormData()
  form.append('prompt', 'dog')
  form.append('image', text)
  const field = await send(form)
  t.strictSame(budget.booked.splice(0), [field, 4 * field, image.length])
  await post(gateway, { image: `sha256:${'0'.repeat(64)}`, prompt: 'dog' })
  t.equal(budget.booked.at(-1), 0, 'an id brings no image')
  await budget.free()
})

t.test('an image that is fetched is booked with the most it may be before that', async t => {
  const { asked, url } = await startSite(t)
  const budget = watchBudget(t)
  const env = { MAX_IMAGE_BYTES: '100KiB', UPLOAD_MEMORY_BYTES: '150KiB', IMAGE_URL_HOSTS: '127.0.0.0/8' }
  const gateway = await startTestGateway({ env })
  t.teardown(gateway.stop)
  const first = post(gateway, { image: `${url}1`, prompt: 'dog' })
  while (asked.length === 0) await setImmediate()
  t.equal(budget.heldBytes(), 100 * 1024, 'alone it is admitted, though it is the largest there may be')
  const second = await post(gateway, { image: `${url}2`, prompt: 'dog' })
  t.equal(second.json().code, 'overloaded')
  t.equal(asked.length, 1, 'it was not even asked for')
  const gate = gateway.upstream.hold()
  asked[0]?.()
  await gateway.upstream.arrived(1)
  t.equal(budget.heldBytes(), image.length)
  gate.open()
  t.equal((await first).status, 200)
  await budget.free()
})

t.test('a client that leaves while its image is fetched leaves the booking to that', async t => {
  const { asked, url } = await startSite(t)
  const budget = watchBudget(t)
  const gateway = await startTestGateway({ env: { MAX_IMAGE_BYTES: '100KiB', IMAGE_URL_HOSTS: '127.0.0.0/8' } })
  t.teardown(gateway.stop)
  const body = JSON.stringify({ image: url, prompt: 'dog' })
  const client = await connectTo(gateway.url)
  client.send(head(gateway, `x-request-id: left\r\n${JSON_TYPE}content-length: ${body.length}\r\n`) + body)
  while (asked.length === 0) await setImmediate()
  client.destroy()
  await gateway.logged(({ requestId }) => requestId === 'left')
  t.equal(budget.heldBytes(), 100 * 1024)
  asked[0]?.()
  await budget.free()
})
