import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import axios, { type AxiosRequestConfig } from 'axios'
import t, { type Test } from 'tap'
import { otherJpeg } from '../fixtures/jpeg.js'
import { eventually } from '../support/eventually.js'
import { startTestGateway, type TestGateway, type TestGatewayOptions } from '../support/gateway/gateway.js'
import { type Answer, ask } from '../support/gateway/raw-client.js'

const run = promisify(execFile)
const photo = await otherJpeg(11)
const base64 = photo.toString('base64')
const PLAIN_DECIMAL = /^\d+(\.\d+)?$/

async function open(t: Test, options: TestGatewayOptions = {}): Promise<TestGateway> {
  const gateway = await startTestGateway(options)
  t.teardown(gateway.stop)
  return gateway
}

/**
 * A request of a published client (docs/segmind.md, What clients send) and the check of its
 * response.
 */
interface PublishedClient {
  headers?: Record<string, string>
  path?: string
  body: object | Buffer
  settings?: Record<string, string>
  gets(t: Test, answer: Answer): void
}

/**
 * Builds a form as Python’s `requests` does: a file without a content type, Python spelling of
 * booleans.
 */
function pythonForm(fields: Record<string, string>): Buffer {
  const parts = Object.entries(fields).map(
    ([name, value]) => `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  )
  const file = '--b\r\nContent-Disposition: form-data; name="image"; filename="image"\r\n\r\n'
  return Buffer.concat([Buffer.from(parts.join('') + file), photo, Buffer.from('\r\n--b--\r\n')])
}

function isPicture(t: Test, { status, headers, body }: Answer): void {
  t.equal(status, 200)
  t.equal(headers['content-type'], 'image/jpeg')
  t.strictSame([...body.subarray(0, 2)], [0xff, 0xd8])
  t.match(headers['x-remaining-credits'], PLAIN_DECIMAL)
  t.match(headers['x-generation-time'], /^\d+\.\d+$/)
  t.ok(headers['x-request-id'])
}

const JSON_TYPE = { 'content-type': 'application/json' }

const PUBLISHED: Record<string, PublishedClient> = {
  'the documented JSON': {
    headers: JSON_TYPE,
    body: { image: base64, prompt: 'dog', overlay_mask: true, base64: false },
    gets: isPicture,
  },
  'points as strings that hold JSON': {
    headers: JSON_TYPE,
    body: { image: base64, coordinates: '[[8,4],[2,2]]', remove_coordinates: '[1,1]' },
    gets: isPicture,
  },
  'a data: URI': {
    headers: JSON_TYPE,
    body: { image: `data:image/png;base64,${base64}`, prompt: 'dog' },
    gets: isPicture,
  },
  'Python requests, multipart': {
    headers: { 'content-type': 'multipart/form-data; boundary=b' },
    body: pythonForm({ prompt: 'dog', overlay_mask: 'True', base64: 'False' }),
    gets: isPicture,
  },
  'axios and curl --json, which accept JSON and expect bytes': {
    headers: { ...JSON_TYPE, accept: 'application/json' },
    body: { image: base64, prompt: 'dog' },
    gets: isPicture,
  },
  'base64: true': {
    headers: JSON_TYPE,
    body: { image: base64, prompt: 'dog', base64: true },
    gets(t, answer) {
      t.equal(answer.status, 200)
      t.match(answer.headers['content-type'], /^application\/json/)
      t.equal(Buffer.from(String(answer.json().image), 'base64')[0], 0xff)
    },
  },
  'the published JavaScript sample, as printed': {
    headers: JSON_TYPE,
    body: { image: {}, prompt: 'dog' },
    gets(t, answer) {
      t.equal(answer.status, 400)
      t.match(answer.json().error, /image/)
    },
  },
  'old clients, which send an image alone, where that is not allowed': {
    headers: JSON_TYPE,
    body: { image: base64 },
    gets(t, answer) {
      t.equal(answer.status, 400)
      t.match(answer.json().error, /prompt/)
    },
  },
  'old clients, which send an image alone, where that is allowed': {
    settings: { ALLOW_NO_SELECTION: 'true' },
    headers: JSON_TYPE,
    body: { image: base64 },
    gets: isPicture,
  },
  'the official SDK over v2': {
    headers: { ...JSON_TYPE, 'x-initiator': 'sdk' },
    path: '/v2/sam-v2-image',
    body: { image: base64, prompt: 'dog' },
    gets(t, answer) {
      t.equal(answer.status, 200)
      t.match(answer.json(), { status: 'QUEUED', request_id: String })
      for (const name of ['poll_url', 'status_url', 'response_url'])
        t.match(answer.json()[name], /^http:\/\/127\.0\.0\.1:\d+\/v[12]\/requests\//, `${name} points to the gateway`)
    },
  },
  'the MCP client, which reports errors only from JSON': {
    headers: JSON_TYPE,
    body: { image: base64, prompt: 'dog', seed: 7 },
    gets(t, answer) {
      t.equal(answer.status, 400)
      t.ok(answer.headers['content-type']?.includes('application/json'))
      t.match(answer.json().error, /seed/)
    },
  },
  'another content type': {
    headers: { 'content-type': 'text/plain' },
    body: Buffer.from('hello'),
    gets(t, answer) {
      t.equal(answer.status, 406)
      t.match(answer.json().error, /^Invalid content type/)
    },
  },
}

for (const [name, { headers = {}, path = '/v1/sam-v2-image', body, settings, gets }] of Object.entries(PUBLISHED))
  t.test(`a published client: ${name}`, async t => {
    const gateway = await open(t, settings ? { env: settings } : {})
    const send = () =>
      ask(gateway.url + path, {
        method: 'POST',
        headers: { 'x-api-key': gateway.key, ...headers },
        body: Buffer.isBuffer(body) ? body : JSON.stringify(body),
      })
    gets(t, await send())
    gets(t, await send())
    t.ok(gateway.upstream.calls.length <= 1, 'the second request is a hit, or refused like the first')
  })

t.test('clients that validate the form of a key accept a gateway key', async t => {
  const gateway = await open(t)
  for (const key of [gateway.key, gateway.testKey]) t.match(key, /^(sg_|SG_)[A-Za-z0-9]{12,}$/)
})

t.test('a call that cannot be paid is a 406 that mentions credits and is not retried', async t => {
  const broke = await open(t, { teams: { vision: {}, poor: { budget: { daily: 0 } } } })
  const send = (team: string, path: string) =>
    broke.fetch(path, {
      method: 'POST',
      headers: { ...JSON_TYPE, 'x-api-key': broke.keys[team] ?? '' },
      body: JSON.stringify({ image: base64, prompt: 'dog' }),
    })
  for (const path of ['/v1/sam-v2-image', '/v2/sam-v2-image']) {
    const answer = await send('poor', path)
    t.equal(answer.status, 406)
    t.ok(answer.headers.get('content-type')?.includes('application/json'), 'an MCP client reads errors from JSON only')
    t.match(await answer.json(), {
      error: /^Insufficient credits.*daily budget/,
      code: 'budget_exhausted',
      status: 406,
    })
  }
  broke.upstream.remaining = 0
  broke.upstream.script({ status: 406, body: { error: 'Insufficient credits' } })
  const answer = await send('vision', '/v1/sam-v2-image')
  t.equal(answer.status, 406)
  t.match(await answer.json(), { error: /^Insufficient credits/, code: 'credits_exhausted' })
  t.match(answer.headers.get('x-remaining-credits'), PLAIN_DECIMAL, 'also on errors')
  t.equal((await broke.fetch('/segment', { method: 'POST', headers: JSON_TYPE, body: '{}' })).status, 400)
})

t.test('errors have the statuses of Segmind', async t => {
  const gateway = await open(t)
  const statusOf = async (headers: Record<string, string>, body: object = { image: base64, prompt: 'dog' }) => {
    const init = { method: 'POST', headers: { ...JSON_TYPE, ...headers }, body: JSON.stringify(body) }
    const answer = await gateway.fetch('/v1/sam-v2-image', init)
    t.match(await answer.json(), { error: String, status: answer.status })
    return answer.status
  }
  t.equal(await statusOf({ 'x-api-key': 'SG_0123456789abcdef' }), 401)
  t.equal(await statusOf({}, { image: Buffer.from('GIF89a').toString('base64'), prompt: 'dog' }), 422)
  t.equal(await statusOf({}, { image: base64, prompt: 'dog', seed: 5 }), 400)
  gateway.upstream.script({ status: 422, body: { error: 'Invalid parameters' } })
  t.equal(await statusOf({}), 422)
  gateway.upstream.script({ status: 429, headers: { 'retry-after': '60' } })
  t.equal(await statusOf({}), 429)
  t.equal((await gateway.fetch('/v1/sam-v2-image')).status, 405)
})

t.test('the balance endpoint reports what the key may still spend', async t => {
  const gateway = await open(t, { teams: { vision: { budget: { monthly: 3 } }, rich: {} } })
  const credits = async (team: string) =>
    (await gateway.fetch('/v1/get-user-credits', { headers: { 'x-api-key': gateway.keys[team] ?? '' } })).json()
  t.strictSame(await credits('vision'), { credits: 3, 'free-credits': 0 })
  t.strictSame(await credits('rich'), { credits: 10, 'free-credits': 0 })
})

type Json = Record<string, unknown>

/** Acts like the SDK: submits, then follows the returned URLs verbatim with its key. */
async function viaV2(gateway: TestGateway, body: object, key = gateway.key): Promise<Json> {
  const headers = { 'x-api-key': key, ...JSON_TYPE }
  const submitted = await fetch(`${gateway.url}/v2/sam-v2-image`, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
  })
  const { status_url, response_url, poll_url } = (await submitted.json()) as Record<string, string>
  await eventually('the job never ended', async () => {
    const { status } = (await (await fetch(status_url ?? '', { headers })).json()) as Json
    return status === 'COMPLETED' || status === 'FAILED'
  })
  const result = (await (await fetch(response_url ?? '', { headers })).json()) as Json
  const polled = (await (await fetch(poll_url ?? '', { headers })).json()) as Json
  t.equal(polled.status, result.status)
  return result
}

t.test('a job is submitted, polled and fetched, and its picture needs no key', async t => {
  const gateway = await open(t)
  const result = await viaV2(gateway, { image: base64, prompt: 'dog' })
  t.match(result, { status: 'COMPLETED', metrics: { cost: 0.0017, remaining_credits: 9.9983 } })
  const { output, images } = result as { output: string; images: Json[] }
  t.strictSame(images, [{ url: output, content_type: 'image/jpeg' }])
  t.equal(new URL(output).origin, gateway.url)
  const picture = await fetch(output)
  t.equal(picture.headers.get('content-type'), 'image/jpeg')
  t.equal((await fetch(`${output.slice(0, -4)}AAAA`)).status, 404, 'the URL cannot be guessed')
  const again = await viaV2(gateway, { image: base64, prompt: 'dog' })
  t.match(again, { metrics: { cost: 0 } }, 'the same request is free')
  t.equal(gateway.upstream.calls.length, 1)
  const second = await fetch(`${gateway.url}/v2/sam-v2-image`, {
    method: 'POST',
    headers: { 'x-api-key': gateway.key, ...JSON_TYPE, 'cache-control': 'no-store' },
    body: JSON.stringify({ image: base64, prompt: 'dog' }),
  })
  t.match(await second.json(), { code: 'invalid_request' }, 'a no-store result cannot be fetched')
})

t.test('a slow job continues, fails like Segmind’s, and is invisible to other teams', async t => {
  const gateway = await open(t, { teams: { vision: { limits: { requests_per_minute: 1_000_000 } }, blue: {} } })
  const gate = gateway.upstream.hold()
  gateway.upstream.script({ status: 422, body: { error: 'Inference failed' } })
  const init = { method: 'POST', headers: JSON_TYPE, body: JSON.stringify({ image: base64, prompt: 'dog' }) }
  const submitted = (await (await gateway.fetch('/v2/sam-v2-image', init)).json()) as Record<string, string>
  const path = new URL(submitted.response_url ?? '').pathname
  t.match(await (await gateway.fetch(path)).json(), { status: 'PROCESSING' })
  const stranger = await gateway.fetch(path, { headers: { 'x-api-key': gateway.keys.blue ?? '' } })
  t.equal(stranger.status, 404)
  t.equal((await gateway.fetch(path, { headers: { 'x-api-key': gateway.testKey } })).status, 404, 'and to a test key')
  gate.open()
  const answer = await eventually('the job never failed', async () => {
    const found = await gateway.fetch(path)
    return found.status !== 200 && found
  })
  t.equal(answer.status, 422)
  t.match(await answer.json(), { status: 'FAILED', error: /Inference failed/, code: 'upstream_rejected' })
})

t.test('a job tells its own cost: nothing where another team bought the result', async t => {
  const gateway = await open(t, { teams: { vision: {}, blue: {} } })
  const body = { image: base64, prompt: 'dog' }
  t.match(await viaV2(gateway, body), { metrics: { cost: 0.0017 } })
  const other = await viaV2(gateway, body, gateway.keys.blue)
  t.match(other, { metrics: { cost: 0 } })
  const picture = await fetch(String(other.output))
  t.equal(picture.status, 200)
  t.notOk(
    [...picture.headers.keys()].some(name => name.includes('cost')),
    'a signed URL tells no cost',
  )
})

t.test('a job that outlasts every wait completes when its result is stored', async t => {
  const teams = { vision: { limits: { requests_per_minute: 1_000_000 } } }
  const gateway = await open(t, { teams, env: { CLIENT_TIMEOUT_MS: '1' } })
  const gate = gateway.upstream.hold()
  const init = { method: 'POST', headers: JSON_TYPE, body: JSON.stringify({ image: base64, prompt: 'dog' }) }
  const { response_url = '' } = (await (await gateway.fetch('/v2/sam-v2-image', init)).json()) as Record<string, string>
  const { pathname } = new URL(response_url)
  const look = async () => (await (await gateway.fetch(pathname)).json()) as Json
  await gateway.upstream.arrived(1)
  t.match(await look(), { status: 'PROCESSING' })
  gate.open()
  const job = await eventually('the job never ended', async () => {
    const found = await look()
    return found.status !== 'PROCESSING' && found
  })
  t.match(job, { status: 'COMPLETED', output: String, metrics: { cost: 0.0017, remaining_credits: Number } })
})

t.test('a job and its result are known to every replica', async t => {
  const dataDir = t.testdir()
  const first = await open(t, { dataDir })
  const { output } = (await viaV2(first, { image: base64, prompt: 'dog' })) as { output: string }
  const { response_url = '' } = (await (
    await first.fetch('/v2/sam-v2-image', {
      method: 'POST',
      headers: JSON_TYPE,
      body: JSON.stringify({ image: base64, prompt: 'dog' }),
    })
  ).json()) as Record<string, string>
  await first.stop()
  const second = await open(t, { dataDir, keys: first.keys })
  const { pathname, search } = new URL(output)
  t.equal((await fetch(second.url + pathname + search)).status, 200, 'URLs stay valid after a restart')
  t.match(await (await second.fetch(new URL(response_url).pathname)).json(), { status: 'COMPLETED' })
})

t.test('behind a trusted proxy, URLs use the address that callers use', async t => {
  const gateway = await open(t, { env: { TRUST_PROXY: '127.0.0.1' } })
  const headers = { ...JSON_TYPE, 'x-forwarded-proto': 'https', 'x-forwarded-host': 'segment.example.com' }
  const body = JSON.stringify({ image: base64, prompt: 'dog' })
  const submitted = await gateway.fetch('/v2/sam-v2-image', { method: 'POST', headers, body })
  t.match(await submitted.json(), { status_url: /^https:\/\/segment\.example\.com\/v2\/requests\// })
})

/**
 * Third-party clients over the drop-in endpoints. Each returns the status and the first bytes of
 * the picture.
 */
const CLIENTS: Record<string, (gateway: TestGateway, photo: string) => Promise<string>> = {
  async axios(gateway) {
    const config: AxiosRequestConfig = {
      headers: { 'x-api-key': gateway.key },
      responseType: 'arraybuffer',
      adapter: 'http',
    }
    const { status, data } = await axios.post(
      `${gateway.url}/v1/sam-v2-image`,
      { image: base64, prompt: 'dog' },
      config,
    )
    return `${status} ${Buffer.from(data).toString('hex', 0, 2)}`
  },
  async 'curl --json'(gateway, photo) {
    await writeFile(`${photo}.json`, JSON.stringify({ image: base64, prompt: 'dog' }))
    const args = ['-sS', '-o', `${photo}.out`, '-w', '%{http_code} %{header_json}', '-H', `x-api-key: ${gateway.key}`]
    const json = ['-H', 'content-type: application/json', '-H', 'accept: application/json', '-d', `@${photo}.json`]
    const { stdout } = await run('curl', [...args, ...json, `${gateway.url}/v1/sam-v2-image`])
    return `${stdout.slice(0, 3)} ${stdout.includes('x-remaining-credits') ? 'ffd8' : 'no credits'}`
  },
  async 'curl -F'(gateway, photo) {
    const args = ['-sS', '-o', `${photo}.out`, '-w', '%{http_code} %{content_type}', '-H', `x-api-key: ${gateway.key}`]
    const { stdout } = await run('curl', [
      ...args,
      '-F',
      `image=@${photo}`,
      '-F',
      'prompt=dog',
      `${gateway.url}/v1/sam-v2-image`,
    ])
    return stdout.replace('image/jpeg', 'ffd8')
  },
  'Python requests, as in Segmind’s samples': (gateway, photo) =>
    python(
      gateway,
      photo,
      `import base64, requests
data = {"image": base64.b64encode(open(photo, "rb").read()).decode(), "prompt": "dog", "overlay_mask": True}
r = requests.post(url + "/v1/sam-v2-image", json=data, headers={"x-api-key": key})
float(r.headers["x-remaining-credits"])
print(r.status_code, r.content[:2].hex())`,
    ),
  'Python httpx over v2': (gateway, photo) =>
    python(
      gateway,
      photo,
      `import base64, time, httpx
with httpx.Client(headers={"x-api-key": key, "X-Initiator": "sdk"}) as client:
    job = client.post(url + "/v2/sam-v2-image", json={"image": base64.b64encode(open(photo, "rb").read()).decode(), "prompt": "dog"}).json()
    while client.get(job["status_url"]).json()["status"] in ("QUEUED", "PROCESSING"):
        time.sleep(0.01)
    result = client.get(job["response_url"]).json()
picture = httpx.get(result["output"])
print(picture.status_code, picture.content[:2].hex())`,
    ),
}

async function python(gateway: TestGateway, photo: string, code: string): Promise<string> {
  const set = `url, key, photo = ${JSON.stringify(gateway.url)}, ${JSON.stringify(gateway.key)}, ${JSON.stringify(photo)}\n`
  return (await run('python3', ['-c', set + code])).stdout.trim()
}

t.test('third-party clients over the drop-in endpoints', async t => {
  const gateway = await open(t)
  const file = join(t.testdir({}), 'photo.jpg')
  await writeFile(file, photo)
  for (const [name, client] of Object.entries(CLIENTS)) {
    const output = await client(gateway, file).catch(error => {
      // A client that is not installed is not a failure.
      if (error.code === 'ENOENT' || /No module named/.test(String(error.stderr))) return 'missing'
      throw error
    })
    if (output === 'missing') t.comment(`${name} is not installed`)
    else t.equal(output, '200 ffd8', name)
  }
  t.ok(gateway.upstream.calls.length <= 1)
})
