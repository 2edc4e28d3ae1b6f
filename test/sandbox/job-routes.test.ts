import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { request as httpRequest, type RequestOptions } from 'node:http'
import { connect } from 'node:net'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { parseCredits, toCredits } from '../../src/contracts/nanocredits.js'
import { type Sandbox, type SandboxOptions, startSandbox } from '../../src/sandbox/server.js'
import { SIMULATED_ERRORS } from '../../src/sandbox/triggers.js'
import { createPlainSegmenter } from '../support/doubles/plain-segmenter.js'
import { eventually } from '../support/eventually.js'
import { discAndSquare } from './drawing.js'

const apiKey = 'SG_0123456789abcdef'
const NOW = Date.UTC(2026, 10, 22, 12, 0, 0)
const HOUR_MS = 3_600_000
const image = (await discAndSquare()).toString('base64')

interface Body {
  request_id: string
  status: string
  poll_url: string
  status_url: string
  response_url: string
  error: string
  output: string
  images: unknown[]
  metrics: Record<string, number>
}

async function start(t: Test, options: Partial<SandboxOptions> = {}) {
  const sandbox = await startSandbox({ apiKey, segmenter: createPlainSegmenter(), ...options })
  t.teardown(() => sandbox.close())
  const post = (fields: Record<string, unknown>, version = 'v2') =>
    fetch(`${sandbox.url}/${version}/sam-v2-image`, {
      method: 'POST',
      headers: { 'x-api-key': apiKey, 'content-type': 'application/json' },
      body: JSON.stringify({ image, ...fields }),
    })
  const submit = async (fields: Record<string, unknown>) => (await (await post(fields)).json()) as Body
  return { sandbox, post, submit }
}

function get(url: string, headers: Record<string, string> = { 'x-api-key': apiKey }) {
  return fetch(url, { headers })
}

async function read(url: string): Promise<Body> {
  return (await (await get(url)).json()) as Body
}

/** Polls until the job has finished. */
async function finished(job: Body): Promise<Response> {
  return eventually('the job never finished', async () => {
    const answer = await get(job.status_url)
    const { status } = (await answer.clone().json()) as Body
    return status !== 'QUEUED' && status !== 'PROCESSING' && answer
  })
}

t.test('a job returns the same picture at the same cost as v1', async t => {
  const { sandbox, post, submit } = await start(t)
  const fields = { coordinates: '[36,40]', overlay_mask: false, base64: false }
  const v1 = await post(fields, 'v1')
  const picture = Buffer.from(await v1.arrayBuffer())
  const job = await submit(fields)
  const { request_id: id } = job
  t.match(id, /^[0-9a-f]{32}$/)
  t.strictSame(job, {
    request_id: id,
    status: 'QUEUED',
    poll_url: `${sandbox.url}/v1/requests/${id}`,
    status_url: `${sandbox.url}/v2/requests/${id}/status`,
    response_url: `${sandbox.url}/v2/requests/${id}`,
  })
  const status = await finished(job)
  t.equal(status.status, 200)
  const { metrics: times, ...rest } = (await status.json()) as Body
  t.strictSame(rest, { request_id: id, status: 'COMPLETED' })
  t.strictSame(Object.keys(times), ['queue_time', 'inference_time', 'total_time'])
  const { output, ...result } = await read(job.response_url)
  t.match(output, new RegExp(`^${sandbox.url}/outputs/[0-9a-f]{32}\\.jpg$`))
  t.notOk(output.includes(id))
  const cost = parseCredits(v1.headers.get('x-cost') ?? '') ?? 0
  t.strictSame(result, {
    request_id: id,
    status: 'COMPLETED',
    images: [{ url: output, content_type: 'image/jpeg', width: 120, height: 80 }],
    metrics: { ...times, cost: toCredits(cost), remaining_credits: toCredits(sandbox.credits()) },
  })
  t.equal(sandbox.credits(), 10_000_000_000 - 2 * cost)
  const download = await get(output, {})
  t.equal(download.status, 200)
  t.equal(download.headers.get('content-type'), 'image/jpeg')
  t.ok(picture.equals(Buffer.from(await download.arrayBuffer())))
})

t.test('the v1 polling route returns status and result, without images', async t => {
  const gate = createGate()
  const { submit } = await start(t, { latencyMs: 1, wait: gate.wait })
  const job = await submit({ prompt: 'red' })
  const { request_id } = job
  t.strictSame(await read(job.poll_url), { request_id, status: 'PROCESSING' })
  gate.open()
  await finished(job)
  const { images, ...result } = await read(job.response_url)
  t.equal(images.length, 1)
  t.strictSame(await read(job.poll_url), result)
})

t.test('a job is PROCESSING during the latency and is charged once, on completion', async t => {
  const gate = createGate()
  let now = NOW
  const { sandbox, submit } = await start(t, { latencyMs: 30_000, wait: gate.wait, now: () => now })
  const job = await submit({ prompt: 'red' })
  for (const url of [job.status_url, job.response_url, job.poll_url, job.status_url]) {
    const answer = await get(url)
    t.equal(answer.status, 200)
    t.strictSame(await answer.json(), { request_id: job.request_id, status: 'PROCESSING' })
  }
  t.equal(sandbox.calls, 0)
  now += 1700
  gate.open()
  t.match(await (await finished(job)).json(), { metrics: { queue_time: 0, inference_time: 1.7, total_time: 1.7 } })
  const first = await read(job.response_url)
  t.strictSame(await read(job.response_url), first)
  await get(first.output)
  t.equal(sandbox.calls, 1)
  t.equal(sandbox.requests, 1)
  t.equal(toCredits(sandbox.credits()), first.metrics.remaining_credits)
})

t.test('a multipart submission is accepted', async t => {
  const { sandbox } = await start(t)
  const form = new FormData()
  form.append('coordinates', '[36,40]')
  form.append('overlay_mask', 'False')
  form.append('image', new Blob([await discAndSquare()]), 'a.png')
  const url = `${sandbox.url}/v2/sam-v2-image`
  const answer = await fetch(url, { method: 'POST', headers: { 'x-api-key': apiKey }, body: form })
  t.equal(answer.status, 200)
  t.equal((await finished((await answer.json()) as Body)).status, 200)
})

t.test('URLs begin with the Host of the request', async t => {
  const gate = createGate()
  gate.open()
  const { sandbox } = await start(t, { latencyMs: 1, wait: gate.wait })
  const body = JSON.stringify({ image, prompt: 'red' })
  const headers = { host: 'segmind.test:8123', 'x-api-key': apiKey, 'content-type': 'application/json' }
  const job = await requestRaw(`${sandbox.url}/v2/sam-v2-image`, { method: 'POST', headers }, body)
  t.equal(job.status_url, `http://segmind.test:8123/v2/requests/${job.request_id}/status`)
  await finished({ ...job, status_url: `${sandbox.url}/v2/requests/${job.request_id}/status` })
  for (const [host, origin] of [
    ['localhost:9000', 'http://localhost:9000'],
    ['[::1]:9000', 'http://[::1]:9000'],
    ['"><b>', sandbox.url],
  ] as const) {
    const result = await requestRaw(`${sandbox.url}/v2/requests/${job.request_id}`, { headers: { ...headers, host } })
    t.ok(result.output.startsWith(`${origin}/outputs/`), host)
  }
})

t.test('an HTTP/1.0 request without Host gets URLs of the listening address', async t => {
  const { sandbox, submit } = await start(t)
  const job = await submit({ prompt: 'red' })
  await finished(job)
  const { hostname, port, pathname } = new URL(job.response_url)
  const socket = connect(Number(port), hostname)
  socket.write(`GET ${pathname} HTTP/1.0\r\nx-api-key: ${apiKey}\r\n\r\n`)
  let text = ''
  for await (const chunk of socket) text += chunk
  t.ok(text.includes(`"output":"${sandbox.url}/outputs/`))
})

t.test('records and outputs return 404 an hour after the end of the job', async t => {
  let now = NOW
  const { submit } = await start(t, { now: () => now })
  const job = await submit({ prompt: 'red' })
  await finished(job)
  const { output } = await read(job.response_url)
  now += HOUR_MS - 1
  t.equal((await get(job.status_url)).status, 200)
  t.equal((await get(output, {})).status, 200)
  now += 1
  for (const url of [job.status_url, job.response_url, job.poll_url, output]) {
    const answer = await get(url)
    t.equal(answer.status, 404, url)
    t.match(await answer.json(), { error: /not found/ })
  }
})

t.test('unknown ids and outputs return 404', async t => {
  const { sandbox, submit } = await start(t)
  const job = await submit({ prompt: 'red' })
  await finished(job)
  const { output } = await read(job.response_url)
  for (const path of [
    '/v1/requests/unknown',
    '/v2/requests/unknown',
    '/v2/requests/unknown/status',
    `/v2/requests/${'0'.repeat(200)}`,
    `/outputs/${'0'.repeat(32)}.jpg`,
    `/outputs/${job.request_id}.jpg`,
    new URL(output).pathname.replace('.jpg', ''),
  ]) {
    const answer = await get(`${sandbox.url}${path}`)
    t.equal(answer.status, 404, path)
    t.match(await answer.json(), { error: /not found/ })
  }
})

t.test('every route except the output requires the key', async t => {
  const { sandbox, submit } = await start(t)
  const job = await submit({ prompt: 'red' })
  await finished(job)
  const headersTried: Record<string, string>[] = [{}, { 'x-api-key': 'no' }, { authorization: `Bearer ${apiKey}` }]
  for (const headers of headersTried) {
    for (const url of [job.status_url, job.response_url, job.poll_url]) t.equal((await get(url, headers)).status, 401)
    const answer = await fetch(`${sandbox.url}/v2/sam-v2-image`, { method: 'POST', headers })
    t.equal(answer.status, 401)
    t.match(await answer.json(), { error: /key/ })
  }
  t.equal(sandbox.requests, 1)
})

t.test('an unsupported method gets 405 in HTML', async t => {
  const { sandbox } = await start(t)
  for (const [method, path, allow] of [
    ['GET', '/v2/sam-v2-image', 'POST'],
    ['POST', '/v1/requests/a', 'GET, HEAD'],
    ['DELETE', '/v2/requests/a', 'GET, HEAD'],
    ['POST', '/v2/requests/a/status?x=1', 'GET, HEAD'],
    ['PUT', '/outputs/a.jpg', 'GET, HEAD'],
  ] as const) {
    const answer = await fetch(`${sandbox.url}${path}`, { method })
    t.equal(answer.status, 405, path)
    t.equal(answer.headers.get('allow'), allow)
    t.match(answer.headers.get('content-type'), /^text\/html/)
  }
})

t.test('an invalid submission is rejected as at v1, without a job', async t => {
  const { sandbox, post } = await start(t)
  for (const fields of [
    { image: {}, prompt: 'red' },
    { image: 'https://photos.example/cat.jpg', prompt: 'red' },
    {},
    { coordinates: [1, 2] },
    { prompt: 'red', overlay_mask: 'true' },
    { prompt: 'sandbox:nonsense' },
  ]) {
    const [one, two] = await Promise.all([post(fields, 'v1'), post(fields)])
    t.equal(two.status, one.status, JSON.stringify(fields))
    t.ok(two.status === 400 || two.status === 422)
    t.strictSame(await two.json(), await one.json())
  }
  const url = `${sandbox.url}/v2/sam-v2-image`
  for (const [type, body, status] of [
    ['text/plain', 'abc', 406],
    ['application/x-www-form-urlencoded', 'a=b', 406],
    ['application/json', '{"image":', 400],
  ] as const) {
    const headers = { 'x-api-key': apiKey, 'content-type': type }
    t.equal((await fetch(url, { method: 'POST', headers, body })).status, status, type)
  }
  t.equal((await fetch(url, { method: 'POST', headers: { 'x-api-key': apiKey } })).status, 406)
  t.equal(sandbox.credits(), 10_000_000_000)
})

for (const { name, fields, error } of [
  {
    name: 'whose image cannot be decoded',
    fields: { image: 'AAAA', prompt: 'red' },
    error: /JPG, PNG or WebP|decoded/,
  },
  { name: 'with points outside the image', fields: { coordinates: '[500,500]' }, error: /outside/ },
  { name: 'with the trigger fail', fields: { prompt: 'sandbox:fail red' }, error: /^Inference failed$/ },
]) {
  t.test(`a job ${name} is accepted, then returns 422 on every route, and costs nothing`, async t => {
    const { sandbox, post } = await start(t)
    const submitted = await post(fields)
    t.equal(submitted.status, 200)
    const job = (await submitted.json()) as Body
    t.equal((await finished(job)).status, 422)
    for (const url of [job.status_url, job.response_url, job.poll_url]) {
      const answer = await get(url)
      t.equal(answer.status, 422)
      const body = (await answer.json()) as Body
      t.match(body, { request_id: job.request_id, status: 'FAILED', error, metrics: { inference_time: Number } })
    }
    t.equal(sandbox.calls, 0)
    t.equal(sandbox.credits(), 10_000_000_000)
  })
}

t.test('a status trigger applies to the submission, after the delay, without a job', async t => {
  const waits: number[] = []
  const wait = async (milliseconds: number) => void waits.push(milliseconds)
  const { sandbox, post } = await start(t, { now: () => NOW, wait })
  for (const [trigger, { status }] of Object.entries(SIMULATED_ERRORS)) {
    const [one, two] = await Promise.all(
      ['v1', 'v2'].map(version => post({ prompt: `sandbox:status=${trigger} red` }, version)),
    )
    t.equal(two?.status, status, trigger)
    t.equal(two?.headers.get('content-type'), one?.headers.get('content-type'))
    t.equal(two?.headers.get('x-rate-limit-reset-at-utc'), one?.headers.get('x-rate-limit-reset-at-utc'))
    t.equal(await two?.text(), await one?.text())
  }
  t.strictSame(waits, [])
  t.equal((await post({ prompt: 'sandbox:delay=40 sandbox:status=429' })).status, 429)
  t.strictSame(waits, [40])
  t.equal(sandbox.calls, 0)
  t.equal(sandbox.requests, 2 * Object.keys(SIMULATED_ERRORS).length + 1)
  t.equal(sandbox.credits(), 10_000_000_000)
})

t.test('a job waits for its delay, then for the latency', async t => {
  const waits: number[] = []
  const wait = async (milliseconds: number) => void waits.push(milliseconds)
  const { submit } = await start(t, { latencyMs: 30, wait })
  t.equal((await finished(await submit({ prompt: 'sandbox:delay=40 red' }))).status, 200)
  t.strictSame(waits, [40, 30])
})

t.test('a job whose submission response is lost continues and is charged', async t => {
  const { sandbox, post } = await start(t)
  await t.rejects(post({ prompt: 'sandbox:reset red' }))
  await untilCharged(sandbox, 1)
  const hung = post({ prompt: 'sandbox:hang red' })
  await untilCharged(sandbox, 2)
  await Promise.all([t.rejects(hung), sandbox.close()])
})

t.test('the trigger cut breaks each download, after the charge', async t => {
  const { sandbox, submit } = await start(t)
  const job = await submit({ prompt: 'sandbox:cut red' })
  t.equal((await finished(job)).status, 200)
  const { output } = await read(job.response_url)
  for (const _ of [1, 2]) {
    const download = await get(output)
    t.equal(download.status, 200)
    t.equal(download.headers.get('content-type'), 'image/jpeg')
    await t.rejects(download.arrayBuffer())
  }
  t.equal(sandbox.calls, 1)
})

t.test('the trigger garbage returns an invalid picture and is charged', async t => {
  const { sandbox, submit } = await start(t)
  const job = await submit({ prompt: 'sandbox:garbage red' })
  await finished(job)
  const download = await get((await read(job.response_url)).output)
  t.equal(download.headers.get('content-type'), 'image/jpeg')
  await t.rejects(sharp(Buffer.from(await download.arrayBuffer())).metadata())
  t.equal(sandbox.calls, 1)
})

t.test('submissions without credits get 406, and concurrent jobs cannot overspend', async t => {
  const { sandbox, post } = await start(t, { credits: 0.005 })
  const answers = await Promise.all(['red', 'blue', 'left', 'right'].map(prompt => post({ prompt })))
  t.strictSame(answers.map(({ status }) => status).sort(), [200, 200, 406, 406])
  for (const answer of answers) {
    const body = (await answer.json()) as Body
    if (answer.status === 200) await finished(body)
    else t.match(body, { error: /credits/ })
  }
  t.ok(sandbox.credits() >= 0)
  t.equal(sandbox.calls, 2)
})

t.test('a submission above the limit of open jobs gets 429 until jobs finish', async t => {
  const gate = createGate()
  const { sandbox, post } = await start(t, { latencyMs: 1, wait: gate.wait, credits: 1000 })
  const jobs: Body[] = []
  for (let count = 0; count < 1000; count++) jobs.push((await (await post({ prompt: 'sandbox:fail' })).json()) as Body)
  t.match(await read(jobs[15]?.status_url ?? ''), { status: 'PROCESSING' })
  t.match(await read(jobs[16]?.status_url ?? ''), { status: 'QUEUED' })
  const refused = await post({ prompt: 'red' })
  t.equal(refused.status, 429)
  t.match(await refused.json(), { error: /open/ })
  gate.open()
  await finished(jobs[999] as Body)
  t.equal((await post({ prompt: 'red' })).status, 200)
  t.equal(sandbox.requests, 1002)
})

t.test('closing ends jobs in every state, and the process exits', async t => {
  const server = new URL('../../src/sandbox/server.js', import.meta.url).href
  const script = `const { startSandbox } = await import(${JSON.stringify(server)})
    const sandbox = await startSandbox({ apiKey: 'k', latencyMs: 600000 })
    const headers = { 'x-api-key': 'k', 'content-type': 'application/json' }
    for (let count = 0; count < 20; count++) {
      const body = JSON.stringify({ image: ${JSON.stringify(image)}, prompt: count % 2 ? 'red' : 'sandbox:delay=600000' })
      const answer = await fetch(sandbox.url + '/v2/sam-v2-image', { method: 'POST', headers, body })
      await answer.arrayBuffer()
    }
    await sandbox.close()
    console.log('closed after ' + sandbox.requests)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { env: {} })
  t.teardown(() => child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  let [out, err] = ['', '']
  child.stdout.on('data', chunk => {
    out += chunk
  })
  child.stderr.on('data', chunk => {
    err += chunk
  })
  t.strictSame(await exited, [0, null])
  t.equal(out, 'closed after 20\n')
  t.equal(err, '', 'no warning about listeners')
})

/** Creates a wait that ends when the gate opens or the sandbox closes. */
function createGate() {
  const opened = new AbortController()
  const wait: SandboxOptions['wait'] = async (_milliseconds, until) => {
    const either = AbortSignal.any([opened.signal, until])
    if (!either.aborted) await once(either, 'abort')
  }
  return { wait, open: () => opened.abort() }
}

async function untilCharged(sandbox: Sandbox, calls: number): Promise<void> {
  await eventually(`fewer than ${calls} segmentations were billed`, () => sandbox.calls >= calls)
}

/** Sends a request with its own Host header, which `fetch` does not allow. */
function requestRaw(url: string, options: RequestOptions, body?: string): Promise<Body> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, options, async response => {
      let text = ''
      for await (const chunk of response) text += chunk
      resolve(JSON.parse(text))
    })
    request.on('error', reject)
    request.end(body)
  })
}
