import { type ClientRequest, request as httpRequest } from 'node:http'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { formatCredits, parseCredits } from '../../src/contracts/nanocredits.js'
import { WorkerSegmenter } from '../../src/sandbox/segmenter.js'
import { newSandboxKey, type SandboxOptions, startSandbox } from '../../src/sandbox/server.js'
import { createPlainSegmenter } from '../support/doubles/plain-segmenter.js'
import { eventually } from '../support/eventually.js'
import { discAndSquare, readMask } from './drawing.js'

const apiKey = 'SG_0123456789abcdef'
const NOW = Date.UTC(2026, 10, 22, 12, 0, 0)

/**
 * Uses the real segmenter. For tests that do not check the balance. Closed at the end of the file.
 */
const shared = await start(t, { segmenter: new WorkerSegmenter() })

async function start(t: Test, options: Partial<SandboxOptions> = {}) {
  const sandbox = await startSandbox({ apiKey, segmenter: createPlainSegmenter(), ...options })
  t.teardown(() => sandbox.close())
  const post = (body: unknown, headers: Record<string, string> = {}) =>
    fetch(`${sandbox.url}/v1/sam-v2-image`, {
      method: 'POST',
      headers: { 'x-api-key': apiKey, 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })
  const image = (await discAndSquare()).toString('base64')
  return { sandbox, post, image }
}

t.test('a point gets a JPEG and the four headers', async t => {
  const { sandbox, post, image } = await start(t, { credits: 1, segmenter: new WorkerSegmenter() })
  const answer = await post({ image, coordinates: '[36,40]', overlay_mask: false, base64: false })
  t.equal(answer.status, 200)
  t.equal(answer.headers.get('content-type'), 'image/jpeg')
  t.match(answer.headers.get('x-request-id'), /^[0-9a-f-]{36}$/)
  t.match(answer.headers.get('x-generation-time'), /^\d+\.\d{3}$/)
  const cost = parseCredits(answer.headers.get('x-cost') ?? '') ?? 0
  t.ok(cost >= 1_400_000 && cost <= 2_000_000)
  t.equal(answer.headers.get('x-remaining-credits'), formatCredits(1_000_000_000 - cost))
  const mask = await readMask(Buffer.from(await answer.arrayBuffer()))
  t.ok(mask.at(36, 40))
  t.notOk(mask.at(90, 38))
  t.equal(sandbox.calls, 1)
})

t.test('base64 returns the same picture in JSON', async t => {
  const { post, image } = shared
  const fields = { image, prompt: 'red ball', overlay_mask: true }
  const bytes = Buffer.from(await (await post({ ...fields, base64: false })).arrayBuffer())
  const answer = await post({ ...fields, base64: true })
  t.match(answer.headers.get('content-type'), /^application\/json/)
  t.strictSame(await answer.json(), { image: bytes.toString('base64') })
})

t.test('two sandboxes return the same bytes at the same cost for the same question', async t => {
  const [one, other] = [shared, await start(t, { segmenter: new WorkerSegmenter() })]
  const answers = []
  for (const { post, image } of [one, one, other]) {
    const answer = await post({ image, coordinates: '[[36,40]]' })
    answers.push({
      cost: answer.headers.get('x-cost'),
      body: Buffer.from(await answer.arrayBuffer()).toString('base64'),
    })
  }
  t.strictSame(answers[1], answers[0])
  t.strictSame(answers[2], answers[0])
})

t.test('multipart is accepted with the file first or last and with booleans of Python', async t => {
  const { sandbox } = shared
  const file = new Blob([await discAndSquare()])
  for (const order of ['before', 'after']) {
    const form = new FormData()
    if (order === 'before') form.append('image', file, 'a.png')
    form.append('coordinates', '[36,40]')
    form.append('overlay_mask', 'False')
    form.append('base64', 'True')
    if (order === 'after') form.append('image', file, 'a.png')
    const answer = await fetch(`${sandbox.url}/v1/sam-v2-image`, {
      method: 'POST',
      headers: { 'x-api-key': apiKey },
      body: form,
    })
    t.equal(answer.status, 200, order)
    const { image } = (await answer.json()) as { image: string }
    t.ok((await readMask(Buffer.from(image, 'base64'))).at(36, 40))
  }
})

t.test('the balance falls by exactly the sum of the costs of concurrent calls', async t => {
  const { sandbox, post, image } = await start(t, { credits: 0.75 })
  const answers = await Promise.all(['red', 'blue', 'left'].map(prompt => post({ image, prompt })))
  const spent = answers.reduce((sum, { headers }) => sum + (parseCredits(headers.get('x-cost') ?? '') ?? 0), 0)
  t.equal(sandbox.credits(), 750_000_000 - spent)
  const answer = await fetch(`${sandbox.url}/v1/get-user-credits`, { headers: { 'x-api-key': apiKey } })
  const balance = (await answer.json()) as Record<string, number>
  t.strictSame(Object.keys(balance), ['credits', 'free-credits'])
  t.equal(balance['free-credits'], 0.5)
  t.equal(Math.round(((balance.credits ?? 0) + 0.5) * 1e9), 750_000_000 - spent)
  t.equal(sandbox.calls, 3)
})

t.test('calls without credits get 406, and concurrent calls cannot overspend', async t => {
  const { sandbox, post, image } = await start(t, { credits: 0.005 })
  const answers = await Promise.all(['red', 'blue', 'left', 'right'].map(prompt => post({ image, prompt })))
  const statuses = answers.map(({ status }) => status).sort()
  t.strictSame(statuses, [200, 200, 406, 406])
  t.match(await answers.find(({ status }) => status === 406)?.json(), { error: /credits/ })
  t.ok(sandbox.credits() >= 0)
  t.equal(sandbox.calls, 2)
})

t.test('only the valid key in x-api-key is accepted', async t => {
  const { sandbox } = await start(t)
  for (const [headers, error] of [
    [{}, 'Missing Authorization or x-api-key in header'],
    [{ authorization: `Bearer ${apiKey}` }, 'Missing Authorization or x-api-key in header'],
    [{ 'x-api-key': 'SG_ffffffffffffffff' }, 'Invalid API key'],
  ] as [Record<string, string>, string][]) {
    for (const [path, method] of [
      ['sam-v2-image', 'POST'],
      ['get-user-credits', 'GET'],
      ['no-such-model', 'POST'],
    ] as const) {
      const answer = await fetch(`${sandbox.url}/v1/${path}`, { method, headers })
      t.equal(answer.status, 401, `${method} ${path} ${JSON.stringify(headers)}`)
      t.strictSame(await answer.json(), { error })
    }
  }
  t.equal(sandbox.requests, 0)
})

t.test('an unsupported method gets 405 in HTML, an unknown model 404', async t => {
  const { sandbox } = await start(t)
  for (const [path, method, allow] of [
    ['sam-v2-image', 'GET', 'POST'],
    ['sam-v2-image', 'PUT', 'POST'],
    ['get-user-credits', 'POST', 'GET, HEAD'],
  ] as const) {
    const answer = await fetch(`${sandbox.url}/v1/${path}?x=1`, { method, headers: { 'x-api-key': apiKey } })
    t.equal(answer.status, 405)
    t.equal(answer.headers.get('allow'), allow)
    t.match(answer.headers.get('content-type'), /^text\/html/)
  }
  const answer = await fetch(`${sandbox.url}/v1/sdxl`, { method: 'POST', headers: { 'x-api-key': apiKey } })
  t.equal(answer.status, 404)
  t.match(await answer.json(), { error: /not found/ })
})

t.test('invalid bodies are rejected and cost nothing', async t => {
  const { sandbox, post, image } = await start(t)
  const multipart = { 'content-type': 'multipart/form-data; boundary=b' }
  const cases: { body: string; headers?: Record<string, string>; status: number; error: RegExp }[] = [
    { body: '{"image":', status: 400, error: /Malformed/ },
    { body: '', status: 400, error: /Malformed/ },
    { body: '[1]', status: 400, error: /image/ },
    { body: 'null', status: 400, error: /image/ },
    {
      body: 'a=b',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      status: 406,
      error: /^Invalid content type$/,
    },
    { body: 'abc', headers: { 'content-type': 'text/plain' }, status: 406, error: /^Invalid content type$/ },
    {
      body: '--b\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\nabc',
      headers: multipart,
      status: 400,
      error: /Malformed/,
    },
    { body: 'abc', headers: { 'content-type': 'multipart/form-data' }, status: 400, error: /Malformed/ },
    { body: JSON.stringify({ image, coordinates: [1, 2] }), status: 422, error: /string/ },
    { body: JSON.stringify({ image: 'AAAA', prompt: 'cat' }), status: 422, error: /JPG, PNG or WebP|decoded/ },
    { body: JSON.stringify({ image, coordinates: '[500,500]' }), status: 422, error: /outside/ },
  ]
  for (const { body, headers, status, error } of cases) {
    const answer = await post(body, headers)
    t.equal(answer.status, status, body.slice(0, 60))
    t.match(await answer.json(), { error })
  }
  const answer = await fetch(`${sandbox.url}/v1/sam-v2-image`, { method: 'POST', headers: { 'x-api-key': apiKey } })
  t.equal(answer.status, 406)
  t.equal(sandbox.calls, 0)
  t.equal(sandbox.credits(), 10_000_000_000)
})

const statuses: { trigger: string; status: number; body: RegExp }[] = [
  { trigger: '400', status: 400, body: /^\{"error":/ },
  { trigger: '401', status: 401, body: /"error":"Missing Authorization/ },
  { trigger: '403', status: 403, body: /"error"/ },
  { trigger: '404', status: 404, body: /"error"/ },
  { trigger: '405', status: 405, body: /^<html>/ },
  { trigger: '406', status: 406, body: /credits/ },
  { trigger: '406-credits', status: 406, body: /credits/ },
  { trigger: '406-limit', status: 406, body: /spend limit/ },
  { trigger: '406-other', status: 406, body: /parameter/ },
  { trigger: '410', status: 410, body: /retired/ },
  { trigger: '422', status: 422, body: /"error"/ },
  { trigger: '422-detail', status: 422, body: /^\{"detail":/ },
  { trigger: '429', status: 429, body: /Rate limit/ },
  { trigger: '500', status: 500, body: /Internal Polling Error/ },
  { trigger: '502', status: 502, body: /"error"/ },
  { trigger: '504', status: 504, body: /"error"/ },
]
t.test('a status trigger returns each documented status without a charge', async t => {
  const { sandbox, post, image } = await start(t, { now: () => NOW })
  for (const { trigger, status, body } of statuses) {
    const answer = await post({ image, prompt: `sandbox:status=${trigger} a cat` })
    t.equal(answer.status, status, trigger)
    t.match(await answer.text(), body)
    t.equal(answer.headers.get('x-cost'), null)
    t.equal(answer.headers.get('retry-after'), null)
    const reset = status === 429 ? '2026-11-22T12:00:02.000Z' : null
    t.equal(answer.headers.get('x-rate-limit-reset-at-utc'), reset)
  }
  t.equal(sandbox.calls, 0)
  t.equal(sandbox.requests, statuses.length)
  t.equal(sandbox.credits(), 10_000_000_000)
})

t.test('a format trigger returns each format and is charged', async t => {
  const { sandbox, post, image } = shared
  const before = sandbox.calls
  const plain = Buffer.from(await (await post({ image, prompt: 'red' })).arrayBuffer()).toString('base64')
  const text = await post({ image, prompt: 'sandbox:base64-text red' })
  t.match(text.headers.get('content-type'), /^text\/plain/)
  t.equal(await text.text(), plain)
  const uri = await post({ image, prompt: 'sandbox:data-uri; red' })
  t.strictSame(await uri.json(), { image: `data:image/jpeg;base64,${plain}` })
  const garbage = await post({ image, prompt: 'sandbox:garbage red' })
  t.equal(garbage.headers.get('content-type'), 'image/jpeg')
  await t.rejects(sharp(Buffer.from(await garbage.arrayBuffer())).metadata())
  t.equal(sandbox.calls, before + 4)
})

t.test('the triggers reset and cut break the connection after the charge', async t => {
  const { sandbox, post, image } = shared
  const before = sandbox.calls
  await t.rejects(post({ image, prompt: 'sandbox:reset' }))
  t.equal(sandbox.calls, before + 1)
  const cut = await post({ image, prompt: 'sandbox:cut' })
  t.equal(cut.status, 200)
  t.ok(cut.headers.get('x-cost'))
  await t.rejects(cut.arrayBuffer())
  t.equal(sandbox.calls, before + 2)
})

t.test('the trigger hang is charged, and closing ends the call', async t => {
  const sandbox = await startSandbox({ apiKey, credits: 1, segmenter: createPlainSegmenter() })
  const image = (await discAndSquare()).toString('base64')
  const send = (prompt: string): Promise<Error> => {
    const request = postRaw(`${sandbox.url}/v1/sam-v2-image`)
    request.end(JSON.stringify({ image, prompt }))
    return new Promise(resolve => request.on('error', resolve))
  }
  const hung = send('sandbox:hang')
  await eventually('no segmentation was billed', () => sandbox.calls > 0)
  const delayed = send('sandbox:delay=600000')
  await eventually('the second request never arrived', () => sandbox.requests > 1)
  await sandbox.close()
  t.ok(await hung)
  t.ok(await delayed)
  await t.rejects(fetch(sandbox.url))
})

t.test('a call waits for its delay, then for the latency', async t => {
  const waits: number[] = []
  const { post, image } = await start(t, { latencyMs: 30, wait: async milliseconds => void waits.push(milliseconds) })
  const answer = await post({ image, prompt: 'sandbox:delay=40 red' })
  t.equal(answer.status, 200)
  t.strictSame(waits, [40, 30])
})

t.test('generated keys have Segmind’s format', async t => {
  t.match(newSandboxKey(), /^SG_[0-9a-f]{16}$/)
  t.not(newSandboxKey(), newSandboxKey())
})

function postRaw(url: string): ClientRequest {
  return httpRequest(url, { method: 'POST', headers: { 'x-api-key': apiKey, 'content-type': 'application/json' } })
}
