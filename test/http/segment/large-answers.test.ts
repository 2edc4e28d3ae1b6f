import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import t from 'tap'
import { smallJpeg } from '../../fixtures/odd-images.js'
import { eventually } from '../../support/eventually.js'
import { startTestGateway } from '../../support/gateway/gateway.js'
import { ask } from '../../support/gateway/raw-client.js'

const MIB = 1024 ** 2
/** Larger than what the system buffers of a connection. */
const picture = Buffer.concat([await smallJpeg(), randomBytes(12 * MIB)])

// Without a memory tier every reader gets a buffer of its own.
const env = { MEMORY_CACHE_BYTES: '0', UPLOAD_MEMORY_BYTES: '50MiB' }
const gateway = await startTestGateway({ env })
t.teardown(gateway.stop)
gateway.upstream.script({ body: picture })
const bought = await gateway.segment()
const id = bought.headers.get('x-result-id') ?? ''
const headers = { 'x-api-key': gateway.key }

t.test('a large picture is whole as bytes and as base64, and HEAD has its length', async t => {
  t.ok(picture.equals(Buffer.from(await bought.arrayBuffer())))
  const base64 = await ask(`${gateway.url}/results/${id}?base64=true`, { headers })
  t.equal(base64.headers['content-length'], String(base64.body.length))
  t.ok(picture.equals(Buffer.from(String(base64.json().image), 'base64')))
  const head = await ask(`${gateway.url}/results/${id}?base64=true`, { method: 'HEAD', headers })
  t.match(head, { status: 200, headers: { 'content-length': String(base64.body.length) } })
  t.equal(head.body.length, 0)
})

t.test('a large picture is whole in both formats of a batch', async t => {
  const body = JSON.stringify({ image: bought.headers.get('x-image-id'), selections: [{ prompt: 'dog', id: 'a' }] })
  const send = (accept: string) =>
    ask(`${gateway.url}/segment/batch`, {
      method: 'POST',
      headers: { ...headers, accept, 'content-type': 'application/json' },
      body,
    })
  const lines = await send('application/x-ndjson')
  const item = JSON.parse(lines.body.toString()) as { id: string; image: string }
  t.equal(item.id, 'a')
  t.ok(picture.equals(Buffer.from(item.image, 'base64')))
  const parts = await send('multipart/mixed')
  const start = parts.body.indexOf('\r\n\r\n') + 4
  t.ok(picture.equals(parts.body.subarray(start, start + picture.length)))
  t.match(parts.body.subarray(start + picture.length).toString(), /^\r\n--batch-[0-9a-f]+--\r\n$/)
})

t.test('answers that are not read fill the share of their team, and free it when they end', async t => {
  const read = () => ask(`${gateway.url}/results/${id}?base64=true`, { headers })
  const silent = () => {
    const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1').pause()
    socket.write(`GET /results/${id}?base64=true HTTP/1.1\r\nhost: x\r\nx-api-key: ${gateway.key}\r\n\r\n`)
    return socket
  }
  const readers = [silent(), silent()]
  await eventually('unread answers did not fill the share', async () => (await read()).status === 503)
  t.match((await read()).json(), { code: 'overloaded', retryable: true, billed: 'no' })
  t.equal((await gateway.fetch('/usage')).status, 200, 'a small request is answered')
  for (const reader of readers) reader.destroy()
  await eventually('the share was never freed', async () => (await read()).status === 200)
})
