import t from 'tap'
import { smallJpeg } from '../../fixtures/odd-images.js'
import { startTestGateway } from '../../support/gateway/gateway.js'
import { connectTo } from '../../support/gateway/raw-client.js'

const gateway = await startTestGateway({ env: { ADMIN_KEY: 'the-operators-own-key', TRUST_PROXY: '127.0.0.1' } })
t.teardown(gateway.stop)
const image = (await smallJpeg()).toString('base64')

/** Sends a request as it is. Returns its status and error code. */
async function send(requestLine: string, fields: string): Promise<string> {
  const client = await connectTo(gateway.url)
  client.send(`${requestLine}\r\n${fields}\r\nconnection: close\r\n\r\n`)
  const answer = await client.ended
  return `${/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]} ${/"code":("\w+")/.exec(answer)?.[1] ?? ''}`.trim()
}

const REFUSED = '400 "invalid_request"'

t.test('a request names one valid host', async t => {
  const rows: [fields: string, wanted: string][] = [
    ['host: gateway', '200'],
    ['host: gateway_1.example.com:8080', '200'],
    ['host: 192.0.2.1:', '200'],
    ['host: [2001:db8::1]:8080', '200'],
    ['x: y', REFUSED],
    ['host:', REFUSED],
    ['host: a\r\nhost: a', REFUSED],
    ['host: a\r\nHOST: b', REFUSED],
    ['host: a, b', REFUSED],
    ['host: a b', REFUSED],
    ['host: user@a', REFUSED],
    ['host: a/b', REFUSED],
    ['host: a"><script>', REFUSED],
    ['host: a:65536', REFUSED],
    ['host: a:b', REFUSED],
    ['host: [::1', REFUSED],
    ['host: [::z]', REFUSED],
    ['host: [1.2.3]', REFUSED],
    [`host: ${'a'.repeat(300)}`, REFUSED],
  ]
  for (const [fields, wanted] of rows) {
    t.equal(await send('GET /healthz HTTP/1.1', fields), wanted, fields)
    const inOld = fields === 'x: y' ? '200' : wanted
    t.equal(await send('GET /healthz HTTP/1.0', fields), inOld, `HTTP/1.0 ${fields}`)
  }
})

t.test('the host of an absolute target must be valid, and Host too', async t => {
  const rows: [target: string, host: string, wanted: string][] = [
    ['http://other:8080/healthz', 'host: gateway', '200'],
    ['https://other/healthz?a=b', 'host: gateway', '200'],
    ['HTTP://OTHER/healthz', 'host: gateway', '200'],
    ['http://other/nothing', 'host: gateway', '404 "not_found"'],
    ['http://other', 'host: gateway', '200'],
    ['http://other?a=b', 'host: gateway', '200'],
    ['http:///healthz', 'host: gateway', REFUSED],
    ['http://user@other/healthz', 'host: gateway', REFUSED],
    ['http://other:99999/healthz', 'host: gateway', REFUSED],
    ['http://other/healthz', 'host: a b', REFUSED],
    ['http://other/healthz', 'host: a\r\nhost: a', REFUSED],
    ['http://other/healthz', 'x: y', REFUSED],
    ['ftp://other/healthz', 'host: gateway', '404 "not_found"'],
    ['other:443', 'host: gateway', REFUSED],
  ]
  for (const [target, host, wanted] of rows) {
    t.equal(await send(`GET ${target} HTTP/1.1`, host), wanted, `${target} ${host}`)
  }
})

t.test('URLs in responses name the host that the caller or a trusted proxy sent, if it is valid', async t => {
  const rows: [target: string, fields: string, origin: string][] = [
    ['', 'host: gateway:81', 'http://gateway:81'],
    ['http://target:82', 'host: gateway:81', 'http://target:82'],
    ['', 'host: gateway\r\nx-forwarded-host: front', 'http://front'],
    ['http://target', 'host: gateway\r\nx-forwarded-host: front:8443', 'http://front:8443'],
    ['', 'host: gateway\r\nx-forwarded-proto: https', 'https://gateway'],
    ['', 'host: gateway\r\nx-forwarded-proto: HTTPS', 'https://gateway'],
    ['', 'host: gateway\r\nx-forwarded-proto: javascript', 'http://gateway'],
    ['', 'host: gateway\r\nx-forwarded-proto: https://evil/?', 'http://gateway'],
    ['', 'host: gateway\r\nx-forwarded-host: evil/path?', 'http://gateway'],
    ['', 'host: gateway\r\nx-forwarded-host: user@evil', 'http://gateway'],
    ['', 'host: gateway\r\nx-forwarded-host: "evil', 'http://gateway'],
  ]
  for (const [target, fields, origin] of rows) t.equal(await pollOrigin(target, fields, '1.1'), origin, fields)
  t.equal(await pollOrigin('', 'x: y', '1.0'), gateway.url, 'without a host: the address of the connection')
  t.equal(await pollOrigin('', 'x-forwarded-host: ?', '1.0'), gateway.url)
})

/** Submits a job. Returns the origin of the URL at which its status is. */
async function pollOrigin(target: string, fields: string, version: string): Promise<string | undefined> {
  const body = JSON.stringify({ image, prompt: 'dog' })
  const client = await connectTo(gateway.url)
  client.send(
    `POST ${target}/v2/sam-v2-image HTTP/${version}\r\n${fields}\r\nx-api-key: ${gateway.testKey}\r\n` +
      `content-type: application/json\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
  const answer = await client.ended
  return /"status_url":"(.*?)\/v2\//.exec(answer)?.[1] ?? answer
}
