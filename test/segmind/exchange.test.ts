import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { type Dispatcher, Pool } from 'undici'
import { exchange, type Outgoing } from '../../src/segmind/exchange.js'
import type { WireBody } from '../../src/segmind/wire-request.js'
import { startFakeSegmind } from '../support/doubles/fake-segmind.js'

const countedBody = () => {
  const text = JSON.stringify({ image: 'aGVsbG8=', prompt: 'cat' })
  const counted = { encoded: 0, body: { byteLength: text.length, encode: () => Buffer.from(text) } satisfies WireBody }
  const { encode } = counted.body
  counted.body.encode = () => {
    counted.encoded++
    return encode()
  }
  return counted
}

const outgoing = (body: WireBody, apiKey = ''): Outgoing => ({
  method: 'POST',
  path: '/v1/sam-v2-image',
  headers: { 'x-api-key': apiKey },
  body,
  deadline: new AbortController().signal,
  maxAnswerBytes: 10_000,
})

t.test(
  'a connection that ends before undici takes the body counts as not sent, and the body is never encoded',
  async t => {
    const counted = countedBody()
    let iterator: AsyncIterator<Buffer> | undefined
    const dying = {
      request: async ({ body }: { body: AsyncIterable<Buffer> }) => {
        iterator = body[Symbol.asyncIterator]()
        throw new Error('other side closed')
      },
    } as unknown as Dispatcher

    const exchanged = await exchange(dying, outgoing(counted.body))
    t.match(exchanged, { bodySent: false, end: 'broken', head: undefined })
    await t.rejects(async () => iterator?.next(), { message: /before the body was sent/ })
    t.equal(counted.encoded, 0)
  },
)

t.test('once undici has taken the body, the request counts as sent', async t => {
  const counted = countedBody()
  const taking = {
    request: async ({ body }: { body: AsyncIterable<Buffer> }) => {
      await body[Symbol.asyncIterator]().next()
      throw new Error('other side closed')
    },
  } as unknown as Dispatcher

  t.match(await exchange(taking, outgoing(counted.body)), { bodySent: true, end: 'broken' })
})

t.test('the body of a request that waits for a connection is not encoded yet', async t => {
  const fake = await startFakeSegmind()
  const pool = new Pool(fake.url, { connections: 1 })
  t.teardown(async () => {
    await pool.destroy()
    await fake.close()
  })
  const gate = fake.hold()
  const [first, second] = [countedBody(), countedBody()]
  const exchanges = [first, second].map(({ body }) => exchange(pool, outgoing(body, fake.apiKey)))
  await fake.arrived(1)
  t.same([first.encoded, second.encoded], [1, 0])
  gate.open()
  for (const exchanged of await Promise.all(exchanges)) t.match(exchanged, { head: { status: 200 }, end: 'complete' })
  t.same([first.encoded, second.encoded], [1, 1])
})

t.test('a large body is sent whole and freed then, and a large answer arrives whole', async t => {
  const sent = randomBytes(3_000_000)
  const answer = randomBytes(2_000_000)
  let received: Buffer | undefined
  const server = createServer(async (request, response) => {
    // Its socket fills up before it reads.
    await new Promise(resolve => setTimeout(resolve, 100))
    received = await buffer(request)
    response.end(answer)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const pool = new Pool(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.teardown(async () => {
    await pool.close()
    server.close()
  })
  const encoded: Buffer[] = []
  const encode = () => {
    const bytes = Buffer.from(sent)
    encoded.push(bytes)
    return bytes
  }
  const limits = { ...outgoing({ byteLength: sent.length, encode }), maxAnswerBytes: answer.length }
  for (let call = 0; call < 2; call++) {
    const { body, end } = await exchange(pool, limits)
    t.equal(end, 'complete')
    t.ok(received?.equals(sent), 'all of it arrives')
    t.ok(body.equals(answer))
  }
  const isFreed = 'transfer' in ArrayBuffer.prototype
  t.same(
    encoded.map(({ length }) => length === 0),
    [isFreed, isFreed],
    'freed as of Node.js 22',
  )
})
