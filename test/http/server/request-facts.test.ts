import t from 'tap'
import { smallJpeg } from '../../fixtures/odd-images.js'
import { type LogLine, startTestGateway } from '../../support/gateway/gateway.js'
import { ask, connectTo } from '../../support/gateway/raw-client.js'

const isRequest = (line: LogLine) => line.msg === 'request'

t.test('a valid request id of the caller is kept, and an invalid one replaced', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const rows: [id: string, isValid: boolean][] = [
    ['7f3a91', true],
    ['labelling-ui/7f3a91:2.1+x=~@', true],
    ['a'.repeat(128), true],
    ['a'.repeat(129), false],
    ['two words', false],
    ['"quoted"', false],
    ['{env}', false],
    ['<b>', false],
    ['caf\u00e9', false],
    ['', false],
  ]
  const given = new Set<string>()
  for (const [id, isValid] of rows) {
    const answer = await ask(`${gateway.url}/usage`, { headers: { 'x-request-id': id } })
    const responseId = String(answer.headers['x-request-id'])
    if (isValid) t.equal(responseId, id)
    else t.match(responseId, /^[0-9a-f-]{36}$/, `${JSON.stringify(id)} is replaced`)
    t.equal(answer.json().requestId, responseId)
    t.match(await gateway.logged(line => isRequest(line) && line.requestId === responseId), { status: 401 })
    given.add(responseId)
  }
  t.equal(given.size, rows.length, 'every replacement is a new id')
})

t.test('each request writes one log line', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const miss = await gateway.segment({ prompt: 'dog' })
  const hit = await gateway.segment({ prompt: 'dog' })
  await gateway.segment({})
  await gateway.fetch('/healthz')
  await gateway.fetch('/nothing')
  await gateway.logged(line => line.code === 'not_found')
  const resultId = miss.headers.get('x-result-id')
  t.equal(resultId, hit.headers.get('x-result-id'))
  const common = { level: 'info', method: 'POST', route: '/segment', team: 'vision', keyId: gateway.key.slice(5, 13) }
  t.match(gateway.log().filter(isRequest), [
    { ...common, status: 200, cache: 'miss', cost: '0.0017', resultId, ms: Number, uploadBytes: Number },
    { ...common, status: 200, cache: 'hit', cost: '0', resultId },
    { ...common, status: 400, code: 'missing_selection' },
    { method: 'GET', route: '/healthz', status: 200, team: undefined },
    { method: 'GET', route: 'none', status: 404, code: 'not_found' },
  ])
  t.equal(gateway.log().filter(isRequest).length, 5)
  t.match(await gateway.metrics(), 'segmind_gateway_requests_total{route="/segment",team="vision",code="400"} 1')
})

t.test('a request whose client disconnects is counted and logged', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const gate = gateway.upstream.hold()
  const leaving = new AbortController()
  const left = gateway.segment({ prompt: 'dog' }, { signal: leaving.signal }).catch(error => error.name)
  await gateway.upstream.arrived(1)
  leaving.abort()
  t.equal(await left, 'AbortError')
  const line = await gateway.logged(isRequest)
  t.match(line, { level: 'info', status: 499, route: '/segment', team: 'vision' })
  t.match(await gateway.metrics(), 'segmind_gateway_requests_total{route="/segment",team="vision",code="499"} 1')
  gate.open()
  t.equal((await gateway.segment({ prompt: 'dog' })).headers.get('x-cost'), '0', 'the purchased result is cached')

  const uploading = await connectTo(gateway.url)
  uploading.send(`POST /segment HTTP/1.1\r\nhost: x\r\nx-api-key: ${gateway.key}\r\nx-request-id: cut\r\n`)
  uploading.send('expect: 100-continue\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n')
  await uploading.until(/100 Continue/)
  uploading.destroy()
  t.match(await gateway.logged(line => isRequest(line) && line.requestId === 'cut'), { status: 499, team: 'vision' })
})

t.test('no key and no image reaches the log, even at level trace', async t => {
  const gateway = await startTestGateway({ env: { LOG_LEVEL: 'trace', ADMIN_KEY: 'operators-secret-key' } })
  t.teardown(gateway.stop)
  const image = await smallJpeg(64, 64)
  const base64 = image.toString('base64')
  const json = { 'content-type': 'application/json' }
  const body = (fields: object) => JSON.stringify({ image: base64, prompt: 'dog', ...fields })
  const wrong = `${gateway.key.slice(0, -1)}${gateway.key.endsWith('0') ? '1' : '0'}`
  const post = (body: string, headers: Record<string, string> = {}) =>
    gateway.fetch('/segment', { method: 'POST', body, headers: { ...json, ...headers } })

  gateway.upstream.script(
    { status: 500, body: { error: `cannot take ${base64} with ${gateway.upstream.apiKey}` } },
    { how: 'reset' },
    { status: 401, body: { error: `bad key ${gateway.upstream.apiKey}` } },
  )
  for (const prompt of ['one', 'two', 'three', 'four']) await post(body({ prompt }))
  await gateway.segment({ prompt: 'five' }, { image })
  await post(body({}).slice(0, -5))
  await post(body({ image: `${base64}!` }))
  await post(body({ [base64]: 1 }))
  await post(body({ prompt: 'six', image: `http://user:${gateway.key}@10.0.0.1/${base64}` }))
  await post(body({}), { 'x-api-key': wrong })
  await post(body({}), { 'x-api-key': '', authorization: `Bearer ${gateway.key}` })
  await gateway.fetch(`/usage?key=${gateway.key}`)
  await gateway.fetch(`/${gateway.key}`)
  await gateway.fetch('/admin/x', { headers: { 'x-api-key': 'operators-secret-key' } })
  for (const head of [`GET /%zz${gateway.key} HTTP/1.1`, 'NOT HTTP', `BREW /${base64} HTTP/1.1`]) {
    const client = await connectTo(gateway.url)
    client.send(`${head}\r\nhost: x\r\nconnection: close\r\nx-api-key: ${gateway.key}\r\n\r\n`)
    await client.ended
    client.destroy()
  }
  await gateway.stop()

  const text = gateway.logText()
  t.match(text, /"code":"upstream_failed"/)
  t.match(text, /"code":"upstream_unauthorized"/)
  const secrets = {
    'the team’s key': gateway.key.slice(13, 40),
    'the wrong key': wrong,
    'the operators’ key': 'operators-secret-key',
    'the shared key': gateway.upstream.apiKey,
    'the image in base64': base64.slice(200, 230),
    'the start of the image in base64': base64.slice(0, 24),
    'the image in hex': image.subarray(100, 116).toString('hex'),
    'the image as bytes': `${image.subarray(100, 108).join(',')}`,
  }
  for (const [what, secret] of Object.entries(secrets)) t.notOk(text.includes(secret), what)
})
