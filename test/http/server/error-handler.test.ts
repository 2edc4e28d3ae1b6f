import { METHODS } from 'node:http'
import t from 'tap'
import { ResultCache } from '../../../src/cache/result-cache.js'
import { type ERRORS, GatewayError } from '../../../src/contracts/errors.js'
import { toGatewayError } from '../../../src/http/server/error-handler.js'
import { startTestGateway } from '../../support/gateway/gateway.js'
import { ask, connectTo } from '../../support/gateway/raw-client.js'

const gateway = await startTestGateway({ env: { MAX_IMAGE_BYTES: '10KiB' } })
t.teardown(gateway.stop)

const FORM = 'multipart/form-data; boundary=b'
const PART = '--b\r\ncontent-disposition: form-data; name="image"; filename="a.jpg"\r\n\r\nabc'

t.test('an unreadable body is a client error, never a 500 or a 406', async t => {
  const rows: [what: string, type: string | undefined, body: string, wanted: string][] = [
    ['a form without a boundary', 'multipart/form-data', PART, '400 invalid_request'],
    ['a body other than a form', FORM, 'hello', '400 invalid_request'],
    ['a form that ends in the middle of a part', FORM, PART, '400 invalid_request'],
    ['a form whose part has an invalid header', FORM, '--b\r\nnonsense\r\n\r\nabc\r\n--b--\r\n', '400 invalid_request'],
    ['an empty form', FORM, '', '400 missing_image'],
    ['JSON that is cut off', 'application/json', '{"image":"', '400 invalid_request'],
    ['JSON other than an object', 'application/json; charset=utf-8', '[]', '400 invalid_request'],
    ['empty JSON', 'application/json', '', '400 invalid_request'],
    ['compressed JSON', 'application/json', '\x1f\x8b\x08', '400 invalid_request'],
    ['text', 'text/plain', 'hello', '415 unsupported_content_type'],
    ['a URL-encoded form', 'application/x-www-form-urlencoded', 'image=x', '415 unsupported_content_type'],
    ['an invalid content type', ';;', 'hello', '415 unsupported_content_type'],
    ['a content type that only begins like JSON', 'application/json-patch+json', '[]', '415 unsupported_content_type'],
    ['no content type', undefined, 'hello', '415 unsupported_content_type'],
  ]
  for (const [what, type, body, wanted] of rows) {
    const headers = { 'x-api-key': gateway.key, accept: 'application/xml', ...(type && { 'content-type': type }) }
    const answer = await ask(`${gateway.url}/segment`, { method: 'POST', headers, body })
    t.equal(`${answer.status} ${answer.json().code}`, wanted, what)
    t.equal(answer.headers['content-type'], 'application/problem+json; charset=utf-8', what)
  }
})

t.test('malformed HTTP gets a problem response, and the connection is closed', async t => {
  const upload = (type: string, framing: string) =>
    `POST /segment HTTP/1.1\r\nhost: x\r\nx-api-key: ${gateway.key}\r\ncontent-type: ${type}\r\n${framing}\r\n\r\n`
  const rows: [what: string, bytes: string][] = [
    ['another protocol', 'HELO gateway\r\n\r\n'],
    ['an unknown method', 'BREW /segment HTTP/1.1\r\nhost: x\r\n\r\n'],
    ['headers that are too long', `GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: ${'a'.repeat(20_000)}\r\n\r\n`],
    ['a length that is not a number', upload('application/json', 'content-length: many')],
    ['a JSON body in broken chunks', `${upload('application/json', 'transfer-encoding: chunked')}5\r\n{"ima\r\nzz\r\n`],
    ['a form in broken chunks', `${upload(FORM, 'transfer-encoding: chunked')}5\r\n--b\r\n\r\nzz\r\n`],
  ]
  for (const [what, bytes] of rows) {
    const client = await connectTo(gateway.url)
    client.send(bytes)
    const answer = await client.ended
    t.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/, what)
    t.match(answer, /\r\nConnection: close\r\n/i, what)
    const [head = '', body = ''] = answer.split('\r\n\r\n')
    const id = /x-request-id: (\S+)/i.exec(head)?.[1]
    t.match(JSON.parse(body), { code: 'invalid_request', requestId: id, billed: 'no' }, what)
    const line = await gateway.logged(({ requestId, level }) => requestId === id && level === 'info')
    t.match(line, { status: 400, code: 'invalid_request' }, `${what}: the log line has the same request id`)
    client.destroy()
  }
})

t.test(
  'an upload that is cut off is answered if its client still reads, and does not affect other requests',
  async t => {
    for (const [what = '', type] of [
      ['json', 'application/json'],
      ['form', FORM],
    ]) {
      const head = (id: string) =>
        `POST /segment HTTP/1.1\r\nhost: x\r\nx-api-key: ${gateway.key}\r\ncontent-type: ${type}\r\nx-request-id: ${id}\r\n`
      const halfOpen = await connectTo(gateway.url)
      halfOpen.send(`${head(`${what}/half-open`)}content-length: 1000\r\n\r\n${type === FORM ? PART : '{"ima'}`)
      halfOpen.end()
      t.match(await halfOpen.ended, /^HTTP\/1\.1 400 .*"code":"invalid_request"/s, what)
      halfOpen.destroy()

      const gone = await connectTo(gateway.url)
      gone.send(`${head(`${what}/gone`)}expect: 100-continue\r\ncontent-length: 1000\r\n\r\n`)
      await gone.until(/100 Continue/)
      gone.send('{"i')
      gone.destroy()
      const ids = [`${what}/half-open`, `${what}/gone`]
      for (const id of ids)
        t.match(await gateway.logged(line => line.requestId === id && line.level === 'info'), {
          status: 499,
          team: 'vision',
        })
    }
    t.equal((await gateway.segment()).status, 200)
    const lines = gateway
      .log()
      .filter(({ requestId, level }) => /^(json|form)\//.test(`${requestId}`) && level === 'info')
    t.equal(lines.length, 4, 'one log line per upload')
    t.notOk(gateway.logText().includes('internal_error'))
  },
)

t.test('an upload far above the limit is refused while it is sent, and its sender can read the refusal', async t => {
  const begin = async (type: string) => {
    const client = await connectTo(gateway.url)
    client.send(`POST /segment HTTP/1.1\r\nhost: x\r\nx-api-key: ${gateway.key}\r\ncontent-type: ${type}\r\n`)
    client.send('transfer-encoding: chunked\r\n\r\n')
    if (type === FORM) client.send(`${PART.length.toString(16)}\r\n${PART}\r\n`)
    for (let sent = 0; sent < 20; sent++) client.send(`10000\r\n${'a'.repeat(65_536)}\r\n`)
    return client
  }
  const json = await begin('application/json')
  t.match(await json.ended, /^HTTP\/1\.1 413 .*"code":"image_too_large"/s)
  const form = await begin(FORM)
  t.match(await form.until(/\}$/), /^HTTP\/1\.1 413 .*"code":"image_too_large"/s)
  for (let sent = 0; sent < 20; sent++) form.send(`10000\r\n${'a'.repeat(65_536)}\r\n`)
  form.send('0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n')
  t.match(await form.until(/\{"status":"ok"\}/), /200 OK/, 'the connection stays usable')
  for (const client of [json, form]) client.destroy()
  for (const answer of [await json.ended, await form.until(/413/)]) {
    t.match(answer, /"detail":"The image is larger than the limit of 10240 bytes\."/)
  }
})

t.test('a path that cannot be decoded is an invalid request', async t => {
  for (const path of ['/%zz', '/pages/%E0%A4%A']) {
    const answer = await ask(gateway.url + path)
    t.match(answer, { status: 400, headers: { 'x-request-id': /./ } }, path)
    t.equal(answer.json().code, 'invalid_request', path)
    const line = await gateway.logged(line => line.requestId === answer.headers['x-request-id'])
    t.match(line, { msg: 'request', status: 400, route: 'none', code: 'invalid_request' }, path)
  }
})

t.test('a 405 lists the allowed methods of the route', async t => {
  const rows: [method: string, path: string, allow: string][] = [
    ['GET', '/segment', 'POST'],
    ['PUT', '/segment?x=1', 'POST'],
    ['POST', '/usage', 'GET'],
    ['HEAD', '/usage', 'GET'],
    ['PROPFIND', '/healthz', 'GET, HEAD'],
    ['POST', '/readyz', 'GET, HEAD'],
    ['DELETE', '/docs', 'GET'],
    ['POST', '/pages/theme.css', 'GET, HEAD'],
  ]
  for (const [method, path, allow] of rows) {
    const answer = await ask(gateway.url + path, { method })
    t.match(answer, { status: 405, headers: { allow } }, `${method} ${path}`)
  }
})

t.test('every HTTP method gets the same kind of response', async t => {
  for (const method of METHODS.filter(method => method !== 'CONNECT')) {
    const answers = [
      await ask(`${gateway.url}/readyz`, { method }),
      await ask(`${gateway.url}/segment`, { method }),
      await ask(`${gateway.url}/nothing`, { method, headers: { 'content-type': 'text/plain' }, body: 'x' }),
    ]
    t.strictSame(
      answers.map(({ status }) => status),
      [method === 'GET' || method === 'HEAD' ? 200 : 405, method === 'POST' ? 401 : 405, 404],
      method,
    )
  }
  const client = await connectTo(gateway.url)
  client.send('CONNECT /segment HTTP/1.1\r\nhost: x\r\n\r\n')
  t.match(await client.ended, /^HTTP\/1\.1 405 .*\r\nallow: .*"code":"method_not_allowed"/s)
  client.destroy()
})

t.test('an HTTP/1.1 request requires a Host header', async t => {
  for (const [version, status] of [
    ['1.1', '400'],
    ['1.0', '200'],
  ]) {
    const client = await connectTo(gateway.url)
    client.send(`GET /healthz HTTP/${version}\r\nconnection: close\r\n\r\n`)
    const answer = await client.ended
    t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `))
    if (status === '400') t.match(answer, /"code":"invalid_request".*no Host header/)
    client.destroy()
  }
})

t.test('an unknown path is not found, even if it resembles a known one', async t => {
  for (const path of [
    '/segment/',
    '/segments',
    '/SEGMENT',
    '/pages/nothing.css',
    '/pages/',
    '/pages/theme.css.br',
    '/openapiXyaml',
  ]) {
    const answer = await ask(gateway.url + path)
    t.equal(`${answer.status} ${answer.json().code}`, '404 not_found', path)
  }
  t.equal((await ask(`${gateway.url}/nothing`, { method: 'OPTIONS' })).status, 404)
})

t.test('errors of Fastify and its plugins become error codes of the gateway', t => {
  const rows: [error: unknown, code: keyof typeof ERRORS][] = [
    [{ code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE', statusCode: 415 }, 'unsupported_content_type'],
    [{ code: 'FST_ERR_CTP_BODY_TOO_LARGE', statusCode: 413 }, 'image_too_large'],
    [{ code: 'FST_ERR_CTP_INVALID_CONTENT_LENGTH', statusCode: 400 }, 'invalid_request'],
    [{ code: 'FST_INVALID_MULTIPART_CONTENT_TYPE', statusCode: 406 }, 'invalid_request'],
    [{ code: 'SOMETHING_NEW', statusCode: 418 }, 'invalid_request'],
    [{ code: 'SOMETHING_NEW', statusCode: 503 }, 'internal_error'],
    [new TypeError('a bug'), 'internal_error'],
    ['a text', 'internal_error'],
    [undefined, 'internal_error'],
    [null, 'internal_error'],
    [new GatewayError('not_cached', 'unchanged'), 'not_cached'],
  ]
  for (const [error, code] of rows) t.equal(toGatewayError(error).code, code, String(error))
  t.equal(toGatewayError(new TypeError('a bug')).billed, 'unknown', 'after a bug, billing is unknown')
  t.notMatch(toGatewayError(new TypeError('a bug')).message, /a bug/)
  t.end()
})

t.test('a bug is a 500 whose details appear in the log only', async t => {
  t.intercept(ResultCache.prototype, 'find', {
    value: () => {
      throw new TypeError('secret detail of the bug')
    },
  })
  const answer = await gateway.segment({ prompt: 'a bug' })
  const problem = (await answer.json()) as Record<string, unknown>
  t.match(problem, { status: 500, code: 'internal_error', retryable: false, billed: 'unknown' })
  t.notMatch(JSON.stringify(problem), /secret detail/)
  const line = await gateway.logged(({ msg }) => msg === 'request failed')
  t.match(line, {
    requestId: problem.requestId,
    err: { message: 'secret detail of the bug', stack: /error-handler/ },
  })
})
