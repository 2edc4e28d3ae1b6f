import t from 'tap'
import { smallJpeg } from '../../fixtures/odd-images.js'
import { startTestGateway } from '../../support/gateway/gateway.js'
import { connectTo } from '../../support/gateway/raw-client.js'

const gateway = await startTestGateway()
t.teardown(gateway.stop)
const image = await smallJpeg()

const SEGMENT = `POST /segment HTTP/1.1\r\nhost: x\r\nx-api-key: ${gateway.key}\r\ncontent-type: application/json\r\n`

t.test('a request that is ambiguous, oversized or for another protocol gets an error of the contract', async t => {
  const rows: [what: string, bytes: string, status: number, code: string][] = [
    ['both framings', `${SEGMENT}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n`, 400, 'invalid_request'],
    ['two lengths', `${SEGMENT}content-length: 2\r\ncontent-length: 3\r\n\r\n`, 400, 'invalid_request'],
    ['a list of lengths', `${SEGMENT}content-length: 2, 2\r\n\r\n`, 400, 'invalid_request'],
    ['a signed length', `${SEGMENT}content-length: +2\r\n\r\n`, 400, 'invalid_request'],
    ['chunked not last', `${SEGMENT}transfer-encoding: chunked, gzip\r\n\r\n`, 400, 'invalid_request'],
    ['a chunk size that is no number', `${SEGMENT}transfer-encoding: chunked\r\n\r\nzz\r\n`, 400, 'invalid_request'],
    ['a space before the colon', 'GET /healthz HTTP/1.1\r\nhost : x\r\n\r\n', 400, 'invalid_request'],
    ['a folded field', 'GET /healthz HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n', 400, 'invalid_request'],
    ['a bare line feed', 'GET /healthz HTTP/1.1\nhost: x\n\n', 400, 'invalid_request'],
    ['a control character', 'GET /healthz HTTP/1.1\r\nhost: x\r\na: \u0001\r\n\r\n', 400, 'invalid_request'],
    ['TRACE', 'TRACE /healthz HTTP/1.1\r\nhost: x\r\n\r\n', 405, 'method_not_allowed'],
    ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n', 404, 'not_found'],
    ['an unknown method', 'BREW /healthz HTTP/1.1\r\nhost: x\r\n\r\n', 400, 'invalid_request'],
    ['HTTP/2 without TLS', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400, 'invalid_request'],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400, 'invalid_request'],
    ['a long URL', `GET /${'a'.repeat(15_000)} HTTP/1.1\r\nhost: x\r\n\r\n`, 404, 'not_found'],
    ['a long parameter', `GET /outputs/${'a'.repeat(5_000)} HTTP/1.1\r\nhost: x\r\n\r\n`, 404, 'not_found'],
    ['a URL over the limit', `GET /${'a'.repeat(70_000)} HTTP/1.1\r\nhost: x\r\n\r\n`, 400, 'invalid_request'],
    ['too many fields', `GET /healthz HTTP/1.1\r\nhost: x\r\n${'a: b\r\n'.repeat(9_000)}\r\n`, 400, 'invalid_request'],
  ]
  for (const [what, bytes, status, code] of rows) {
    const client = await connectTo(gateway.url)
    client.send(bytes)
    const answer = await client.until(/\r\n\r\n.*\}$/s)
    t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} .*"code":"${code}"`, 's'), what)
    client.destroy()
  }
})

t.test('the refusal of what the parser does not accept says what is wrong', async t => {
  const rows: [bytes: string, detail: RegExp][] = [
    [`GET /${'a'.repeat(70_000)} HTTP/1.1\r\nhost: x\r\n\r\n`, /URL and the headers are larger than 16 KiB/],
    [`GET /healthz HTTP/1.1\r\nhost: x\r\n${'a: b\r\n'.repeat(9_000)}\r\n`, /larger than 16 KiB/],
    ['BREW /healthz HTTP/1.1\r\nhost: x\r\n\r\n', /The method is not known/],
    [`${SEGMENT}transfer-encoding: chunked\r\n\r\nzz\r\n`, /The size of a chunk is not valid/],
    ['GET /healthz HTTP/1.1\r\nhost : x\r\n\r\n', /is not valid HTTP/],
  ]
  for (const [bytes, detail] of rows) {
    const client = await connectTo(gateway.url)
    client.send(bytes)
    t.match(await client.until(/\r\n\r\n.*\}$/s), detail)
    client.destroy()
  }
})

t.test('a header counts, however many headers precede it', async t => {
  const body = JSON.stringify({ image: image.toString('base64'), prompt: 'never bought' })
  const client = await connectTo(gateway.url)
  const many = 'a:\r\n'.repeat(3_000)
  client.send(`${SEGMENT}${many}content-length: ${body.length}\r\ncache-control: only-if-cached\r\n\r\n${body}`)
  t.match(await client.until(/\r\n\r\n.*\}$/s), /^HTTP\/1\.1 504 .*"code":"not_cached"/s)
  t.equal(gateway.upstream.calls.length, 0)
  client.destroy()
})

t.test('a query is refused where it would be ignored, except from clients of Segmind', async t => {
  const send = (path: string) =>
    gateway.fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ image: image.toString('base64'), prompt: 'dog' }),
    })
  for (const path of ['/segment?output=mask', '/segment/quote?a=b&c=d', '/segment/batch?x', '/images?y=']) {
    const answer = await send(path)
    t.equal(answer.status, 400, path)
    t.match(await answer.json(), { code: 'invalid_request', detail: /^The query parameter "\w+" is not accepted/ })
  }
  t.equal(gateway.upstream.calls.length, 0)
  t.equal((await send('/segment?')).status, 200)
  t.equal((await send('/v1/sam-v2-image?utm=x')).status, 200)
})

t.test('an offer to change the protocol is ignored', async t => {
  for (const protocol of ['websocket', 'h2c', 'TLS/1.2']) {
    const client = await connectTo(gateway.url)
    client.send(`GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: ${protocol}\r\n\r\n`)
    t.match(await client.until(/\{"status":"ok"\}/), /^HTTP\/1\.1 200 /, protocol)
    client.destroy()
  }
})
