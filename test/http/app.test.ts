import t from 'tap'
import { segmentForm, startTestGateway } from '../support/gateway/gateway.js'
import { ask, connectTo } from '../support/gateway/raw-client.js'

const gateway = await startTestGateway({
  env: { MAX_IMAGE_BYTES: '10KiB', ADMIN_KEY: 'the-operators-own-key' },
  teams: { vision: {}, hasty: { limits: { requests_per_minute: 1 } }, gone: { disabled: true } },
})
t.teardown(gateway.stop)
const key = (team: string) => `x-api-key: ${gateway.keys[team]}\r\n`
const JSON_TYPE = 'content-type: application/json\r\n'

t.test('the key is checked before the body arrives', async t => {
  const client = await connectTo(gateway.url)
  client.send(`POST /segment HTTP/1.1\r\nhost: x\r\nx-api-key: wrong\r\n${JSON_TYPE}content-length: 12\r\n\r\n`)
  t.match(await client.until(/"code":"unauthorized"/), /^HTTP\/1\.1 401 /)
  // Without Expect the client sends its body anyway. The connection stays usable behind it.
  client.send('{"image":""}GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n')
  await client.until(/\{"status":"ok"\}/)
  client.destroy()
})

t.test('100 Continue is sent only if the body will be read', async t => {
  await gateway.segment({ prompt: 'dog' }, { team: 'hasty' })
  const rows: [what: string, line: string, fields: string, wanted: string][] = [
    ['a wrong key', 'POST /segment', `x-api-key: wrong\r\n${JSON_TYPE}content-length: 9`, '401 "unauthorized"'],
    ['no key', 'POST /segment', `${JSON_TYPE}content-length: 9`, '401 "unauthorized"'],
    ['a disabled team', 'POST /segment', `${key('gone')}${JSON_TYPE}content-length: 9`, '403 "forbidden"'],
    [
      'a rate limit that is reached',
      'POST /segment',
      `${key('hasty')}${JSON_TYPE}content-length: 9`,
      '429 "rate_limited"',
    ],
    [
      'a body that is too long',
      'POST /segment',
      `${key('vision')}${JSON_TYPE}content-length: 9999999`,
      '413 "image_too_large"',
    ],
    ['text', 'POST /segment', `${key('vision')}content-length: 9`, '415 "unsupported_content_type"'],
    ['another path', 'POST /segments', `${key('vision')}${JSON_TYPE}content-length: 9`, '404 "not_found"'],
    ['another method', 'PUT /segment', `${key('vision')}${JSON_TYPE}content-length: 9`, '405 "method_not_allowed"'],
  ]
  for (const [what, line, fields, wanted] of rows) {
    const client = await connectTo(gateway.url)
    client.send(`${line} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n${fields}\r\n\r\n`)
    const answer = await client.until(/\}$/)
    t.equal(`${/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]} ${/"code":("\w+")/.exec(answer)?.[1]}`, wanted, what)
    t.notMatch(answer, /100 Continue/, what)
    t.match(answer, /connection: close/i, `${what}: the next bytes could be the body or a request`)
    client.destroy()
  }
})

t.test('an acceptable upload gets 100 Continue, then a response, and the connection stays usable', async t => {
  const form = new Response(segmentForm({ prompt: 'dog' }, Buffer.from('not an image')))
  const body = Buffer.from(await form.arrayBuffer())
  const client = await connectTo(gateway.url)
  const type = `content-type: ${form.headers.get('content-type')}\r\n`
  client.send(`POST /segment HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n${key('vision')}${type}`)
  client.send(`content-length: ${body.length}\r\n\r\n`)
  t.equal(await client.until(/\r\n\r\n/), 'HTTP/1.1 100 Continue\r\n\r\n')
  client.send(body)
  await client.until(/HTTP\/1\.1 415 .*"unsupported_image".*\}$/s)
  client.send('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n')
  await client.until(/\{"status":"ok"\}/)
  client.destroy()
})

t.test('an unknown expectation is ignored', async t => {
  const answer = await ask(`${gateway.url}/healthz`, { headers: { expect: 'tea' } })
  t.match(answer, { status: 200 })
})

t.test('other origins get no CORS headers', async t => {
  const origin = 'https://elsewhere.example'
  const preflight = { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-api-key' }
  const answers = [
    await ask(`${gateway.url}/segment`, { method: 'OPTIONS', headers: preflight }),
    await ask(`${gateway.url}/usage`, { headers: { origin, 'x-api-key': gateway.key } }),
    await ask(`${gateway.url}/healthz`, { headers: { origin } }),
    await ask(`${gateway.url}/openapi.yaml`, { headers: { origin } }),
  ]
  t.strictSame(
    answers.map(({ status }) => status),
    [405, 200, 200, 200],
  )
  const cors = answers.flatMap(({ headers }) => Object.keys(headers)).filter(name => name.startsWith('access-control-'))
  t.strictSame(cors, [])
})

t.test('operator routes accept the operators’ key only', async t => {
  const rows: [who: string, key: string | undefined, wanted: string][] = [
    ['no key', undefined, '401 unauthorized'],
    ['a wrong key', 'wrong', '401 unauthorized'],
    ['a team key', gateway.key, '403 forbidden'],
    ['a key of a disabled team', gateway.keys.gone, '403 forbidden'],
    ['the operators’ key', 'the-operators-own-key', '404 not_found'],
  ]
  for (const [who, key, wanted] of rows) {
    for (const headers of [key && { 'x-api-key': key }, key && { authorization: `Bearer ${key}` }]) {
      const answer = await ask(`${gateway.url}/admin/nothing`, { headers: headers || {} })
      t.equal(`${answer.status} ${answer.json().code}`, wanted, `${who}, ${Object.keys(headers ?? {})}`)
    }
  }
  for (const method of ['PROPFIND', 'QUERY', 'OPTIONS', 'POST']) {
    for (const path of ['/admin', '/admin/', '/admin/nothing']) {
      t.equal((await ask(gateway.url + path, { method })).status, 401, `${method} ${path}: the key is checked first`)
      const known = await ask(gateway.url + path, { method, headers: { 'x-api-key': 'the-operators-own-key' } })
      t.equal(known.json().code, 'not_found', `${method} ${path}`)
    }
  }
  const answer = await ask(`${gateway.url}/usage`, { headers: { 'x-api-key': 'the-operators-own-key' } })
  t.equal(answer.status, 401, 'the operators’ key is not a team key')
})
