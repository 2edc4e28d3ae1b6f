import { createHash } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { gunzipSync } from 'node:zlib'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { Coalescer } from '../../src/cache/coalescer.js'
import { ERRORS } from '../../src/contracts/errors.js'
import type { Digest } from '../../src/contracts/types.js'
import { FIELD_NAMES } from '../../src/input/form.js'
import { cacheKey } from '../../src/segment/cache-key.js'
import { smallJpeg, smallPng, smallWebp } from '../fixtures/odd-images.js'
import { type FakeAnswer, startFakeSegmind } from '../support/doubles/fake-segmind.js'
import { eventually } from '../support/eventually.js'
import { readContract } from '../support/gateway/contract.js'
import { segmentForm, startTestGateway, type TestGateway, type TestGatewayOptions } from '../support/gateway/gateway.js'
import { type Answer, ask, connectTo, type RawRequest } from '../support/gateway/raw-client.js'

/** Routes outside the document: files of the pages, and the root of the operator routes. */
const UNDOCUMENTED_ROUTES = [/^\/(pages|client)\/\*$/, /^\/docs\/$/, /^\/docs\/(json|yaml)$/, /^\/admin\/\*$/]
/** Operator key of every gateway in this file. */
const ADMIN_KEY = 'an-operators-key'

const contract = await readContract()
const image = await smallJpeg()

/**
 * Routes of every Fastify instance created from here on, and a hook that simulates a bug in any
 * route.
 */
const apps: FastifyInstance[] = []
const routes = new Set<string>()
const onApp = (message: unknown) => {
  const { fastify } = message as { fastify: FastifyInstance }
  apps.push(fastify)
  fastify.addHook('onRoute', ({ method, url }) => {
    for (const each of [method].flat()) routes.add(`${each} ${url}`)
  })
  fastify.addHook('preHandler', async request => {
    if (request.headers['x-bug']) throw new TypeError('a bug')
  })
}
subscribe('fastify.initialization', onApp)
t.teardown(() => unsubscribe('fastify.initialization', onApp))

/** The running test, which fails on differences that the functions below find. */
let scenario: Test = t
t.beforeEach(test => {
  scenario = test
})

/** Compares every response of every scenario with the document. */
function checked(method: string, path: string, answer: Answer): Answer {
  scenario.strictSame(contract.violationsOf({ ...answer, method, path: templateOf(path) }), [], `${method} ${path}`)
  return answer
}

/** Returns a path in the form of the document. */
function templateOf(path: string): string {
  return (path.split('?', 1)[0] ?? '')
    .replace(/^\/results\/[^/]+$/, '/results/{id}')
    .replace(/^\/images\/[^/]+$/, '/images/{id}')
    .replace(/^(\/v[12]\/requests)\/[^/]+/, '$1/{id}')
    .replace(/^\/outputs\/[^/]+$/, '/outputs/{name}')
    .replace(/^\/admin\/usage\/[^/]+\/closing$/, '/admin/usage/{month}/closing')
    .replace(/^\/admin\/requests\/[^/]+$/, '/admin/requests/{requestId}')
    .replace(/^(\/admin\/teams)\/[^/]+/, '$1/{team}')
    .replace(/^(\/admin\/keys)\/[^/]+/, '$1/{id}')
    .replace(/^(\/admin\/cache\/results)\/[^/]+$/, '$1/{id}')
}

async function get(gateway: TestGateway, path: string, request: RawRequest = {}): Promise<Answer> {
  const headers = { 'x-api-key': gateway.key, ...request.headers }
  return checked(request.method ?? 'GET', path, await ask(gateway.url + path, { ...request, headers }))
}

/** Same as `get`, with the operators' key. */
function administer(gateway: TestGateway, path: string, request: RawRequest = {}): Promise<Answer> {
  return get(gateway, path, { ...request, headers: { 'x-api-key': ADMIN_KEY, ...request.headers } })
}

const NO_RESULT = '0'.repeat(64)

type Fields = Record<string, unknown>

/** Sends `POST /segment` as JSON, with a new prompt unless one is given. */
let segmentCount = 0
async function segment(
  gateway: TestGateway,
  fields: Fields = {},
  headers: Record<string, string> = {},
  path = '/segment',
): Promise<Answer> {
  const body = JSON.stringify({ image: image.toString('base64'), prompt: `thing ${++segmentCount}`, ...fields })
  const type = { 'content-type': 'application/json', 'x-api-key': gateway.key }
  const answer = await ask(gateway.url + path, { method: 'POST', headers: { ...type, ...headers }, body })
  return checked('POST', path, answer)
}

function quote(gateway: TestGateway, fields: Fields = {}, headers: Record<string, string> = {}): Promise<Answer> {
  return segment(gateway, fields, headers, '/segment/quote')
}

/** Sends `POST /segment/batch` with one selection. */
function batch(gateway: TestGateway, fields: Fields = {}, headers: Record<string, string> = {}): Promise<Answer> {
  const { prompt = `thing ${++segmentCount}`, ...others } = fields
  const body = { selections: prompt === '' ? '' : [{ prompt }], prompt: undefined, ...others }
  return segment(gateway, body, { accept: 'application/x-ndjson', ...headers }, '/segment/batch')
}

/** Sends `POST /images`. */
function store(gateway: TestGateway, fields: Fields = {}, headers: Record<string, string> = {}): Promise<Answer> {
  return segment(gateway, { prompt: undefined, ...fields }, headers, '/images')
}

const now = (gateway: TestGateway, fields: Fields = {}, headers: Record<string, string> = {}) =>
  segment(gateway, fields, headers, '/v1/sam-v2-image')
const submit = (gateway: TestGateway, fields: Fields = {}, headers: Record<string, string> = {}) =>
  segment(gateway, fields, headers, '/v2/sam-v2-image')

/** Sends `GET` to a URL from a response. */
async function follow(gateway: TestGateway, url: unknown, request: RawRequest = {}): Promise<Answer> {
  const { pathname, search, origin } = new URL(String(url))
  scenario.equal(origin, gateway.url, 'the URL points to the gateway')
  return get(gateway, pathname + search, request)
}

async function refused(wanted: string, answer: Promise<Answer>): Promise<void> {
  const { status, json } = await answer
  const { code } = json()
  scenario.equal(`${status} ${code}`, wanted)
}

/** Sends a purchase that fails as `wanted`, and asks for its result by id. */
async function failedAlsoById(wanted: string, scene: TestGateway, sent = image): Promise<void> {
  const prompt = `fails with ${wanted}`
  const digest = createHash('sha256').update(sent).digest('hex') as Digest
  await refused(wanted, segment(scene, { prompt, image: sent.toString('base64') }))
  await refused(wanted, ended(scene, `/results/${cacheKey(digest, { prompt, overlayMask: true }, '')}`))
}

async function start(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const gateway = await startTestGateway({ ...options, env: { ADMIN_KEY, ...options.env } })
  t.teardown(gateway.stop)
  return gateway
}

const small = await start({
  env: {
    MAX_IMAGE_BYTES: '100KiB',
    UPLOAD_MEMORY_BYTES: '200KiB',
    MAX_IMAGE_PIXELS: '1000',
    IMAGE_URL_HOSTS: '127.0.0.1',
    SEGMIND_MAX_CONCURRENCY: '1',
    QUEUE_MAX: '0',
    SEGMIND_TIMEOUT_MS: '4000',
    CACHE_TTL_SECONDS: '60',
  },
  teams: {
    vision: { limits: { requests_per_minute: 1_000_000 } },
    hasty: { limits: { requests_per_minute: 1, reads_per_minute: 1 } },
    poor: { budget: { daily: 0 } },
    gone: { disabled: true },
  },
})
const as = (team: string) => ({ 'x-api-key': small.keys[team] ?? '' })

t.test('POST /segment: miss, hit, coalesced, bypass', async t => {
  const bought = await segment(small, { prompt: 'a dog' }, { 'x-request-id': 'app/1' })
  t.equal(bought.headers['x-request-id'], 'app/1')
  t.ok(bought.headers['ratelimit-policy'], 'a successful response has rate headers')
  await segment(small, { prompt: 'a dog' })
  await segment(small, { prompt: 'a dog', coordinates: [1, 2] })
  await segment(small, { prompt: 'a dog', base64: true })
  await segment(small, { prompt: 'a dog' }, { 'cache-control': 'no-cache' })
  small.upstream.script({ body: await smallPng() }, { body: await smallWebp() })
  await segment(small)
  await segment(small)
  const gate = small.upstream.hold()
  const arrived = small.upstream.arrived(small.upstream.calls.length + 1)
  const first = segment(small, { prompt: 'a cat' })
  await arrived
  const joined = followerJoined(t)
  const second = segment(small, { prompt: 'a cat' })
  await joined
  await refused('503 overloaded', segment(small, { prompt: 'a cow' }))
  await failedAlsoById('503 overloaded', small)
  gate.open()
  const caches = [(await first).headers['x-cache'], (await second).headers['x-cache']]
  t.strictSame(caches, ['MISS', 'COALESCED'])
})

t.test('quotes and HEAD of an image', async t => {
  const { headers } = await segment(small, { prompt: 'a dog' })
  const calls = small.upstream.calls.length
  t.match((await quote(small, { prompt: 'a dog', coordinates: [1, 2] })).json(), { wouldBe: 'hit', costCredits: 0 })
  t.match((await quote(small)).json(), { wouldBe: 'miss', allowed: true })
  t.match((await quote(small, {}, { 'cache-control': 'only-if-cached' })).json(), { allowed: false })
  const big = { image: Buffer.alloc(99_000).toString('base64') }
  const gate = small.upstream.hold()
  const arrived = small.upstream.arrived(calls + 1)
  const busy = segment(small, {}, { prefer: 'respond-async, wait=0' })
  await arrived
  for (const send of [quote, batch, store]) await refused('503 overloaded', send(small, big))
  gate.open()
  await busy
  t.equal((await get(small, `/images/${headers['x-image-id']}`, { method: 'HEAD' })).status, 200)
  t.equal((await get(small, `/images/sha256:${NO_RESULT}`, { method: 'HEAD' })).status, 404)
  t.equal((await get(small, '/images/cat', { method: 'HEAD' })).status, 404)
})

t.test('errors of HEAD have no body', async t => {
  const scene = await start({ teams: { vision: { limits: { requests_per_minute: 1, reads_per_minute: 1 } } } })
  for (const path of [`/images/sha256:${NO_RESULT}`, `/results/${NO_RESULT}`]) {
    const head = (headers: Record<string, string> = {}) => get(scene, path, { method: 'HEAD', headers })
    t.equal((await head({ 'x-api-key': 'wrong' })).status, 401)
    await head()
    t.equal((await head()).status, 429)
  }
})

t.test('stored and deleted images', async t => {
  const photo = { image: (await smallPng()).toString('base64') }
  const kept = await store(small, photo)
  const path = `/images/${kept.json().image}`
  const drop = (headers: Record<string, string> = {}) => get(small, path, { method: 'DELETE', headers })
  await refused('401 unauthorized', drop({ 'x-api-key': 'wrong' }))
  await refused('403 forbidden', drop(as('poor')))
  await refused('500 internal_error', drop({ 'x-bug': 'yes' }))
  await get(small, '/usage', { headers: as('hasty') })
  await refused('429 rate_limited', drop(as('hasty')))
  t.equal((await drop()).status, 204)
  await refused('404 unknown_image', drop())
})

t.test('every output form, and batches', async t => {
  const scene = await start()
  const photo = (await smallJpeg(16, 16)).toString('base64')
  const mask = await segment(scene, { image: photo, prompt: 'a dog', output: 'mask' })
  const masks = `/results/${mask.headers['x-result-id']}`
  for (const output of ['cutout', 'rle', 'polygon', 'geojson', 'yolo']) {
    await segment(scene, { image: photo, prompt: 'a dog', output })
    const found = await get(scene, `${masks}?output=${output}`)
    t.equal(found.status, 200)
    await get(scene, `${masks}?output=${output}`, { method: 'HEAD' })
    const known = { 'if-none-match': found.headers.etag ?? '' }
    for (const method of ['GET', 'HEAD'])
      t.equal((await get(scene, `${masks}?output=${output}`, { method, headers: known })).status, 304)
  }
  await refused('400 invalid_parameter', get(scene, `${masks}?output=overlay`))
  const id = `sha256:${createHash('sha256').update(Buffer.from(photo, 'base64')).digest('hex')}`
  await get(scene, `/images/${id}`, { method: 'DELETE' })
  const other = await segment(scene, { image: photo, prompt: 'a cat', overlay_mask: false })
  await get(scene, `/images/${id}`, { method: 'DELETE' })
  await refused('404 unknown_image', get(scene, `/results/${other.headers['x-result-id']}?output=cutout`))
  for (const output of ['rle', 'polygon', 'geojson', 'yolo'])
    t.equal((await batch(scene, { prompt: 'a dog', output, image: photo })).status, 200)
  t.equal((await batch(scene, { image: photo }, { accept: '*/*' })).status, 200)
  await segment(scene, {}, { 'x-api-key': scene.testKey })
})

const CREDITS = '/v1/get-user-credits'
const NO_JOB = '00000000-0000-4000-8000-000000000000'
const JOB_VIEWS = [
  (id: string) => `/v2/requests/${id}/status`,
  (id: string) => `/v2/requests/${id}`,
  (id: string) => `/v1/requests/${id}`,
]

t.test('drop-in endpoints', async t => {
  const scene = await start({
    env: { MAX_IMAGE_BYTES: '100KiB' },
    teams: {
      vision: { limits: { requests_per_minute: 1_000_000 } },
      hasty: { limits: { requests_per_minute: 1, reads_per_minute: 1 } },
      poor: { budget: { daily: 0 } },
      gone: { disabled: true },
    },
  })
  const by = (team: string) => ({ 'x-api-key': scene.keys[team] ?? '' })
  await get(scene, CREDITS)
  await get(scene, CREDITS, { headers: by('hasty') })
  const job = (await submit(scene, { prompt: 'a dog' })).json() as unknown as Record<string, string>
  const gate = scene.upstream.hold()
  scene.upstream.script({ status: 422, body: { error: 'no' } })
  const failing = (await submit(scene)).json() as unknown as Record<string, string>
  t.match((await follow(scene, failing.status_url)).json(), { status: 'PROCESSING' })
  gate.open()
  for (const url of [failing.status_url, failing.response_url, failing.poll_url]) {
    await eventually('the link never expired', async () => (await follow(scene, url)).status !== 200)
    t.match((await follow(scene, url)).json(), { status: 'FAILED', code: 'upstream_rejected' })
  }
  const { output } = (await follow(scene, job.response_url)).json() as unknown as { output: string }
  const picture = await follow(scene, output, { headers: { 'x-api-key': '' } })
  t.equal(picture.status, 200)
  await follow(scene, output, { headers: { 'if-none-match': picture.headers.etag ?? '' } })
  await follow(scene, output, { method: 'HEAD' })
  await refused('404 unknown_result', follow(scene, `${output}x`))
  t.equal((await follow(scene, `${output}x`, { method: 'HEAD' })).status, 404)
  await refused('500 internal_error', follow(scene, output, { headers: { 'x-bug': 'yes' } }))
  await refused('401 unauthorized', get(scene, CREDITS, { headers: { 'x-api-key': 'wrong' } }))
  await refused('403 forbidden', get(scene, CREDITS, { headers: by('gone') }))
  await refused('429 rate_limited', get(scene, CREDITS, { headers: by('hasty') }))
  await refused('500 internal_error', get(scene, CREDITS, { headers: { 'x-bug': 'yes' } }))
  for (const view of JOB_VIEWS) {
    const path = view(job.request_id ?? '')
    t.match((await get(scene, path)).json(), { status: 'COMPLETED' })
    await refused('401 unauthorized', get(scene, path, { headers: { 'x-api-key': 'wrong' } }))
    await refused('403 forbidden', get(scene, path, { headers: by('gone') }))
    await refused('404 unknown_result', get(scene, view(NO_JOB)))
    await refused('404 unknown_result', get(scene, path, { headers: by('poor') }))
    await refused('429 rate_limited', get(scene, path, { headers: by('hasty') }))
    await refused('500 internal_error', get(scene, path, { headers: { 'x-bug': 'yes' } }))
  }
  const slow = scene.upstream.hold()
  await refused('504 upstream_slow', now(scene, {}, { prefer: 'wait=0' }))
  slow.open()
  for (const send of [now, submit]) {
    t.equal((await send(scene, { prompt: 'a dog' })).status, 200)
    await send(scene, { prompt: 'a dog', coordinates: [1, 2], base64: true })
    await refused('400 missing_selection', send(scene, { prompt: '' }))
    await refused('401 unauthorized', send(scene, {}, { 'x-api-key': 'wrong' }))
    await refused('403 forbidden', send(scene, {}, by('gone')))
    await refused('404 unknown_image', send(scene, { image: `sha256:${NO_RESULT}` }))
    await refused('406 budget_exhausted', send(scene, {}, by('poor')))
    await refused('406 unsupported_content_type', send(scene, {}, { 'content-type': 'text/plain' }))
    await refused('413 image_too_large', send(scene, { image: Buffer.alloc(110 * 1024).toString('base64') }))
    await refused('422 unsupported_image', send(scene, { image: Buffer.from('GIF89a…').toString('base64') }))
    await refused('500 internal_error', send(scene, {}, { 'x-bug': 'yes' }))
    await send(scene, { prompt: 'a dog' }, by('hasty'))
    await refused('429 rate_limited', send(scene, { prompt: 'a dog' }, by('hasty')))
    await refused('429 upstream_busy', send(await startBusy()))
    scene.upstream.script({ status: 401 })
    await refused('502 upstream_unauthorized', send(scene))
    await refused('504 not_cached', send(scene, {}, { 'cache-control': 'only-if-cached' }))
  }
  const upstream = await startFakeSegmind()
  t.teardown(() => upstream.close())
  await upstream.goOffline()
  const lonely = await start({ upstream })
  await refused('503 upstream_unavailable', get(lonely, CREDITS))
  await refused('503 upstream_unavailable', now(lonely))
})

t.test('a form is answered like JSON', async t => {
  const form = new Response(segmentForm({ prompt: 'a dog' }, image))
  const headers = { 'content-type': form.headers.get('content-type') ?? '' }
  const body = Buffer.from(await form.arrayBuffer())
  const answer = await get(small, '/segment', { method: 'POST', headers, body })
  t.equal(answer.headers['x-cache'], 'HIT')
})

t.test('the examples of the document work as printed', async t => {
  const examples = contract.at('paths', '/segment', 'post', 'requestBody', 'content', 'application/json', 'examples')
  for (const [name, example] of Object.entries(examples as Record<string, { value: Fields }>)) {
    t.equal((await segment(small, { prompt: undefined, ...example.value })).status, 200, name)
  }
  for (const schema of ['SegmentForm', 'SegmentJson']) {
    const documented = Object.keys(contract.at('components', 'schemas', schema, 'properties'))
    t.strictSame(documented.sort(), ['image', ...FIELD_NAMES].sort(), `${schema} has the fields of the gateway`)
  }
})

t.test('invalid requests', async () => {
  for (const send of [segment, quote, batch, store]) {
    await refused('400 invalid_request', send(small, { colour: 'red' }))
    await refused('400 missing_image', send(small, { image: null }))
    if (send !== store) await refused('400 missing_selection', send(small, { prompt: '' }))
    if (send === segment || send === quote)
      await refused('400 invalid_parameter', send(small, { overlay_mask: 'maybe' }))
    else await refused('400 invalid_parameter', send(small, { image: 7 }))
    await refused('401 unauthorized', send(small, {}, { 'x-api-key': 'wrong' }))
    await refused('403 forbidden', send(small, {}, as('gone')))
    await refused('413 image_too_large', send(small, { image: Buffer.alloc(110 * 1024).toString('base64') }))
    await refused('415 unsupported_content_type', send(small, {}, { 'content-type': 'text/plain' }))
    await refused('415 unsupported_image', send(small, { image: Buffer.from('GIF89a…').toString('base64') }))
    const cut = image.subarray(0, 30).toString('base64')
    const large = (await smallJpeg(40, 40)).toString('base64')
    if (send !== batch) {
      await refused('422 image_unreadable', send(small, { image: cut }))
      await refused('422 image_too_many_pixels', send(small, { image: large }))
    }
    await refused('422 image_url_refused', send(small, { image: 'http://10.0.0.1/cat.jpg' }))
    await refused('422 image_url_failed', send(small, { image: `${small.upstream.url}/cat.jpg` }))
    await refused('500 internal_error', send(small, {}, { 'x-bug': 'yes' }))
  }
  for (const send of [segment, batch, store])
    await refused('404 unknown_image', send(small, { image: `sha256:${NO_RESULT}` }))
  await refused('404 not_found', store(await start({ env: { IMAGE_TTL_SECONDS: '0' } })))
  await refused('504 not_cached', segment(small, {}, { 'cache-control': 'only-if-cached' }))
})

for (const path of ['/segment', '/segment/quote', '/segment/batch', '/images', '/v1/sam-v2-image', '/v2/sam-v2-image'])
  t.test(`a body for ${path} that does not arrive in time`, async () => {
    const { server } = apps[0] as FastifyInstance
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const client = await connectTo(small.url)
    const [socket] = await accepted
    client.send(`POST ${path} HTTP/1.1\r\nhost: x\r\nx-api-key: ${small.key}\r\ncontent-type: application/json\r\n`)
    client.send('content-length: 100\r\n\r\n{"image":')
    await once(server, 'request')
    // Node emits this after `requestTimeout` (five minutes).
    const error = Object.assign(new Error('Request timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' })
    server.emit('clientError', error, socket)
    await refused('408 upload_timeout', Promise.resolve(checked('POST', path, parseAnswer(await client.ended))))
    client.destroy()
  })

t.test('rate limits of a team and of an address', async t => {
  await segment(small, { prompt: 'a dog' }, as('hasty'))
  await refused('429 rate_limited', segment(small, { prompt: 'a dog' }, as('hasty')))
  await get(small, '/usage', { headers: as('hasty') })
  await refused('429 rate_limited', get(small, '/usage', { headers: as('hasty') }))
  for (const send of [quote, batch, store])
    await refused('429 rate_limited', send(small, { prompt: 'a dog' }, as('hasty')))
  await refused('429 budget_exhausted', segment(small, {}, as('poor')))
  t.match((await quote(small, {}, as('poor'))).json(), { allowed: false, refusal: { code: 'budget_exhausted' } })
  let last: Answer | undefined
  for (let attempts = 0; attempts < 40 && last?.status !== 429; attempts++) {
    last = await get(small, '/usage', { headers: { 'x-api-key': 'wrong' } })
  }
  t.match(last, { status: 429, headers: { 'x-ratelimit-limit': undefined } })
})

t.test('the failure of a purchase by its id, where the image was refused', async () => {
  await failedAlsoById('422 image_unreadable', small, image.subarray(0, 30))
  await failedAlsoById('422 image_too_many_pixels', small, await smallJpeg(40, 40))
})

t.test('every failure of Segmind', async t => {
  const rows: [wanted: string, ...answers: FakeAnswer[]][] = [
    ['422 upstream_rejected', { status: 422, body: { error: 'prompt is not allowed' } }],
    ['502 upstream_failed', { status: 500 }, { status: 500 }],
    ['504 upstream_timeout', { how: 'hang' }],
  ]
  for (const [wanted, ...answers] of rows) {
    small.upstream.script(...answers)
    await refused(wanted, segment(small))
  }
  small.upstream.script({ status: 401 })
  await failedAlsoById('502 upstream_unauthorized', small)
  await small.upstream.goOffline()
  await failedAlsoById('503 upstream_unavailable', small)
  await small.upstream.goOnline()
  await failedAlsoById('503 upstream_busy', await startBusy())
  const patient = await start()
  patient.upstream.script({ status: 501, headers: { 'retry-after': '7' } })
  t.match(await segment(patient), { status: 502, headers: { 'retry-after': '7' } })
})

/** Starts a gateway whose Segmind has asked for a pause, during which it makes no other call. */
async function startBusy(): Promise<TestGateway> {
  const busy = await start()
  busy.upstream.script({ status: 429, headers: { 'retry-after': '60' } })
  // A submitted job that is refused after 250 ms is accepted first, so the pause must be known.
  await segment(busy)
  return busy
}

t.test('empty and reserved credits', async () => {
  const broke = await start()
  broke.upstream.remaining = 0
  broke.upstream.script({ status: 406, body: { error: 'Insufficient credits' } })
  await refused('503 credits_exhausted', segment(broke))
  await failedAlsoById('503 credits_exhausted', broke)
  const thrifty = await start({ env: { RESERVE_CREDITS: '1000' } })
  await thrifty.logged(({ creditState }) => creditState === 'reserve')
  await failedAlsoById('503 credits_reserved', thrifty)
})

t.test('authentication of operators', async t => {
  await segment(small, {}, { 'x-request-id': 'explained' })
  const explained = '/admin/requests/explained'
  await eventually('the request was never recorded', async () => (await administer(small, explained)).status !== 404)
  for (const path of ['/admin/credits', explained]) {
    t.equal((await administer(small, path)).status, 200)
    await refused('401 unauthorized', get(await start(), path, { headers: { 'x-api-key': 'wrong' } }))
    await refused('403 forbidden', get(small, path))
    await refused('429 rate_limited', rateLimited(await start(), path))
    await refused('500 internal_error', administer(small, path, { headers: { 'x-bug': 'yes' } }))
  }
  await refused('404 not_found', administer(small, '/admin/requests/nobody'))
})

/** Repeats wrong keys until they are refused by rate. */
async function rateLimited(gateway: TestGateway, path: string): Promise<Answer> {
  return eventually('wrong keys were never refused by rate', async () => {
    const answer = await get(gateway, path, { headers: { 'x-api-key': 'wrong' } })
    return answer.status !== 401 && answer
  })
}

t.test('a result fetched later', async t => {
  const later = { prefer: 'respond-async, wait=0' }
  const gate = small.upstream.hold()
  const accepted = await segment(small, {}, later)
  t.equal(accepted.status, 202)
  const path = accepted.headers.location ?? ''
  t.equal((await get(small, path)).status, 202)
  t.equal((await get(small, path, { method: 'HEAD' })).status, 202)
  gate.open()
  const found = await ended(small, path)
  t.equal(found.status, 200)
  const gateOfV1 = small.upstream.hold()
  const acceptedByV1 = await segment(small, {}, later, '/v1/sam-v2-image')
  t.equal(acceptedByV1.status, 202)
  gateOfV1.open()
  t.equal((await ended(small, `/results/${acceptedByV1.headers['x-result-id']}`)).status, 200)
  t.equal((await get(small, path, { method: 'HEAD' })).status, 200)
  await get(small, `${path}?base64=true`)
  const known = { 'if-none-match': found.headers.etag ?? '' }
  t.equal((await get(small, path, { headers: known })).status, 304)
  t.equal((await get(small, path, { method: 'HEAD', headers: known })).status, 304)

  const failures: [wanted: string, ...answers: FakeAnswer[]][] = [
    ['422 upstream_rejected', { status: 422, body: { error: 'no' } }],
    ['502 upstream_failed', { status: 500 }, { status: 500 }],
    ['504 upstream_timeout', { how: 'hang' }],
  ]
  for (const [wanted, ...answers] of failures) {
    small.upstream.script(...answers)
    const held = small.upstream.hold()
    const { headers } = await segment(small, {}, later)
    held.open()
    await refused(wanted, ended(small, headers.location ?? ''))
  }
  small.upstream.script({ body: await smallPng() }, { body: await smallWebp() })
  for (let picture = 0; picture < 2; picture++)
    await get(small, `/results/${(await segment(small)).headers['x-result-id']}`)
  await refused('404 unknown_result', get(small, `/results/${NO_RESULT}`))
  t.equal((await get(small, `/results/${NO_RESULT}`, { method: 'HEAD' })).status, 404)
  await refused('400 invalid_parameter', get(small, `${path}?base64=perhaps`))
  await refused('401 unauthorized', get(await start(), path, { headers: { 'x-api-key': 'wrong' } }))
  await refused('403 forbidden', get(small, path, { headers: as('gone') }))
  await refused('429 rate_limited', get(small, path, { headers: as('hasty') }))
  await refused('500 internal_error', get(small, path, { headers: { 'x-bug': 'yes' } }))
})

/** Polls until the result is no longer pending. */
async function ended(gateway: TestGateway, path: string): Promise<Answer> {
  return eventually(`${path} never finished`, async () => {
    const answer = await get(gateway, path)
    return answer.status !== 202 && answer
  })
}

t.test('a cache-bypassing request sent twice', async t => {
  const once = { 'cache-control': 'no-store', 'idempotency-key': 'order 1' }
  await segment(small, { prompt: 'a bird' }, once)
  const again = await segment(small, { prompt: 'a bird' }, once)
  t.equal(again.headers['idempotent-replayed'], 'true')
  await refused('422 idempotency_key_reused', segment(small, { prompt: 'a fish' }, once))
})

t.test('a statement', async t => {
  await get(small, '/usage', { headers: as('poor') })
  await get(small, '/usage')
  t.strictSame((await get(small, '/usage?month=2026-01')).json().days, [])
  await refused('400 invalid_parameter', get(small, '/usage?month=January'))
  await refused('400 invalid_request', get(small, '/usage?year=2026'))
  await refused('401 unauthorized', get(await start(), '/usage', { headers: { 'x-api-key': 'wrong' } }))
  await refused('403 forbidden', get(small, '/usage', { headers: as('gone') }))
  await refused('500 internal_error', get(small, '/usage', { headers: { 'x-bug': 'yes' } }))
})

t.test('statements of all teams, for operators', async t => {
  await administer(small, '/admin/usage?team=vision')
  await administer(small, '/admin/usage?format=csv')
  await administer(small, '/admin/usage', { headers: { accept: 'text/csv' } })
  await refused('400 invalid_parameter', administer(small, '/admin/usage?month=January'))
  await refused('400 invalid_parameter', administer(small, '/admin/usage?team=A&team=B'))
  await refused('400 invalid_parameter', administer(small, '/admin/usage?format=pdf'))
  await refused('400 invalid_request', administer(small, '/admin/usage?year=2026'))
  const closing = '/admin/usage/2020-01/closing'
  const rest: [method: string, path: string][] = [
    ['GET', '/admin/usage'],
    ['PUT', closing],
    ['DELETE', closing],
  ]
  for (const [method, path] of rest) {
    const answer = await administer(small, path, { method })
    t.equal(answer.status, 200)
    const { closings } = answer.json() as unknown as { closings: { what: string }[] }
    t.strictSame(
      closings.map(({ what }) => what),
      { GET: [], PUT: ['closed'], DELETE: ['closed', 'reopened'] }[method],
    )
    await refused('401 unauthorized', get(await start(), path, { method, headers: { 'x-api-key': 'wrong' } }))
    await refused('403 forbidden', get(small, path, { method }))
    await refused('429 rate_limited', get(small, path, { method, headers: { 'x-api-key': 'wrong' } }))
    await refused('500 internal_error', administer(small, path, { method, headers: { 'x-bug': 'yes' } }))
  }
  await refused('404 not_found', administer(small, closing, { method: 'DELETE' }))
  await refused('400 invalid_request', administer(small, '/admin/usage/9999-12/closing', { method: 'PUT' }))
  for (const method of ['PUT', 'DELETE'])
    await refused('400 invalid_parameter', administer(small, '/admin/usage/2020-13/closing', { method }))
})

/** An operator action: method, path, body. */
type Action = [method: string, path: string, body?: object]

const UNTIL = new Date(Date.now() + 3_600_000).toISOString()
const OVERRIDE = '/admin/teams/nobody/budget/override'
const TEAM_CHANGES: Action[] = [
  ['POST', '/admin/teams/made/keys', { expires: '90d' }],
  ['POST', '/admin/keys/nothing1/rotate', { overlapDays: 0 }],
  ['DELETE', '/admin/keys/nothing1'],
  ['PUT', OVERRIDE, { daily: 1, until: UNTIL }],
  ['DELETE', OVERRIDE],
]
const PURGES: Action[] = [
  ['DELETE', `/admin/cache/results/${NO_RESULT}`],
  ['DELETE', '/admin/cache/results?all=true'],
]
const READS: Action[] = ['overview', 'history', 'teams', 'cache', 'audit'].map(path => ['GET', `/admin/${path}`])

function act(
  gateway: TestGateway,
  [method, path, body]: Action,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const json: Record<string, string> = body ? { 'content-type': 'application/json' } : {}
  const sent = body ? { body: JSON.stringify(body) } : {}
  return administer(gateway, path, { method, headers: { ...json, ...headers }, ...sent })
}

/** Opens `GET /admin/events`, which stays open, and checks its first event. */
async function openEvents(gateway: TestGateway): Promise<void> {
  const headers = { 'x-api-key': ADMIN_KEY }
  const { status, headers: received, body } = await fetch(`${gateway.url}/admin/events`, { headers })
  const { value = new Uint8Array() } = (await body?.getReader().read()) ?? {}
  const answer = { status, headers: Object.fromEntries(received), body: Buffer.from(value), json: () => ({}) }
  checked('GET', '/admin/events', answer)
}

/** Requests `GET /admin/history` with gzip, as a browser does. */
async function getHistoryGzipped(gateway: TestGateway): Promise<void> {
  const headers = { 'x-api-key': ADMIN_KEY, 'accept-encoding': 'gzip' }
  const answer = await ask(`${gateway.url}/admin/history`, { headers })
  const body = gunzipSync(answer.body)
  checked('GET', '/admin/history', { ...answer, body, json: () => JSON.parse(body.toString()) })
}

t.test('operator routes', async t => {
  const { id } = (await act(small, ['POST', '/admin/teams/made/keys', { expires: '90d' }])).json()
  t.equal((await act(small, ['POST', `/admin/keys/${id}/rotate`, { overlapDays: 1 }])).status, 201)
  t.equal((await act(small, ['DELETE', `/admin/keys/${id}`])).status, 200)
  t.equal((await act(small, ['PUT', '/admin/teams/made/budget/override', { daily: 1, until: UNTIL }])).status, 200)
  t.equal((await act(small, ['GET', '/admin/overview'])).status, 200)
  t.equal((await act(small, ['GET', '/admin/teams'])).status, 200)
  t.equal((await act(small, ['DELETE', '/admin/teams/made/budget/override'])).status, 200)
  const resultId = (await segment(small)).headers['x-result-id'] ?? ''
  t.equal((await act(small, ['DELETE', `/admin/cache/results/${resultId}`])).status, 200)
  t.equal((await act(small, ['DELETE', '/admin/cache/results?all=true'])).status, 200)
  for (const read of READS) t.equal((await act(small, read)).status, 200)
  await getHistoryGzipped(small)

  for (const action of TEAM_CHANGES.slice(1)) await refused('404 not_found', act(small, action))
  await refused('404 unknown_result', act(small, ['DELETE', `/admin/cache/results/${NO_RESULT}`]))
  for (const [method, path] of TEAM_CHANGES.filter(([, , body]) => body))
    await refused('400 invalid_request', act(small, [method, path, { nothing: 1 }]))
  await refused('400 invalid_parameter', act(small, ['POST', '/admin/teams/made/keys', { expires: 'soon' }]))
  await refused('400 invalid_parameter', act(small, ['POST', '/admin/keys/nothing1/rotate', { overlapDays: -1 }]))
  await refused('400 invalid_parameter', act(small, ['PUT', OVERRIDE, { until: UNTIL }]))
  await refused('400 invalid_parameter', act(small, ['DELETE', '/admin/teams/A/budget/override']))
  for (const [method, path] of [
    ['GET', '/admin/history?hours=0'],
    ['GET', '/admin/audit?limit=0'],
    ['DELETE', '/admin/cache/results'],
  ] as Action[])
    await refused('400 invalid_parameter', act(small, [method, path]))
  for (const [method, path] of [
    ['GET', '/admin/history?x=1'],
    ['GET', '/admin/audit?x=1'],
    ['DELETE', '/admin/cache/results?x=1'],
  ] as Action[])
    await refused('400 invalid_request', act(small, [method, path]))
})

t.test('refusals of operator routes', async () => {
  const strict = await start()
  const wrong = { 'x-api-key': 'wrong' }
  const all: Action[] = [...READS, ['GET', '/admin/events'], ...TEAM_CHANGES, ...PURGES]
  for (const action of all) {
    await refused('401 unauthorized', act(strict, action, wrong))
    await refused('403 forbidden', act(strict, action, { 'x-api-key': strict.key }))
    await refused('500 internal_error', act(strict, action, { 'x-bug': 'yes' }))
  }
  await rateLimited(strict, '/usage')
  for (const action of all) await refused('429 rate_limited', act(strict, action, wrong))
  for (let streams = 0; streams < 32; streams++) await openEvents(strict)
  await refused('503 overloaded', administer(strict, '/admin/events'))
  await writeFile(strict.teamsFile, 'teams: [')
  for (const action of TEAM_CHANGES) await refused('503 store_unavailable', act(strict, action))
})

t.test('public routes, wrong methods and unknown routes', async () => {
  for (const path of ['/healthz', '/readyz']) await get(small, path, { method: 'HEAD' })
  for (const path of [
    '/healthz',
    '/readyz',
    '/openapi.yaml',
    '/',
    '/docs',
    '/docs/errors',
    '/docs/runbook',
    '/dashboard',
  ])
    await get(small, path)
  for (const path of ['/', '/dashboard', '/docs', '/docs/errors', '/docs/runbook', '/openapi.yaml']) {
    const { etag = '' } = (await get(small, path)).headers
    await get(small, path, { headers: { 'if-none-match': etag } })
    for (const coding of ['br', 'gzip']) await get(small, path, { headers: { 'accept-encoding': coding } })
  }
  for (const path of Object.keys(contract.at('paths'))) {
    await refused('405 method_not_allowed', administer(small, path, { method: 'PATCH' }))
  }
  await refused('404 not_found', get(small, '/segments'))
  await refused('400 invalid_request', get(small, '/%zz'))
})

t.test('a stale result when Segmind fails', async t => {
  const realNow = Date.now
  let aheadMs = 0
  t.intercept(Date, 'now', { value: () => realNow() + aheadMs })
  const gateway = await start({ env: { CACHE_TTL_SECONDS: '60' } })
  await segment(gateway, { prompt: 'a dog' })
  aheadMs = 61_000
  gateway.upstream.script({ status: 500 }, { status: 500 })
  t.equal((await segment(gateway, { prompt: 'a dog' })).headers['x-cache'], 'STALE')
})

t.test('a client timeout, and a draining gateway', async t => {
  const gateway = await start({ env: { CLIENT_TIMEOUT_MS: '50' } })
  const gate = gateway.upstream.hold()
  // A purchase that has not been sent when its caller leaves is given up, and delays no stop.
  do await refused('504 upstream_slow', segment(gateway))
  while (gateway.upstream.calls.length === 0)
  const stopping = gateway.stop()
  t.match(await get(gateway, '/readyz'), { status: 503 })
  await get(gateway, '/readyz', { method: 'HEAD' })
  await refused('503 shutting_down', segment(gateway))
  for (const send of [quote, batch, store, now, submit]) await refused('503 shutting_down', send(gateway))
  await refused('503 shutting_down', get(gateway, `/images/sha256:${NO_RESULT}`, { method: 'DELETE' }))
  for (const path of [CREDITS, ...JOB_VIEWS.map(view => view(NO_JOB))])
    await refused('503 shutting_down', get(gateway, path))
  await refused('503 shutting_down', get(gateway, '/usage'))
  await refused('503 shutting_down', get(gateway, `/results/${NO_RESULT}`))
  gate.open()
  await stopping
})

t.test('an unreachable store', async () => {
  const closed = 'redis://127.0.0.1:1'
  const gateway = await start({ redisUrl: closed, teams: { vision: { budget: { daily: 1 } } } })
  await refused('503 store_unavailable', segment(gateway))
  for (const send of [store, submit]) await refused('503 store_unavailable', send(gateway))
  for (const view of JOB_VIEWS) await refused('503 store_unavailable', get(gateway, view(NO_JOB)))
  await refused('503 store_unavailable', get(gateway, `/images/sha256:${NO_RESULT}`, { method: 'DELETE' }))
  await refused('503 store_unavailable', get(gateway, `/outputs/${NO_RESULT}.jpg?expires=1&signature=x`))
  await refused('503 store_unavailable', get(gateway, '/usage'))
  await refused('503 store_unavailable', get(gateway, `/results/${NO_RESULT}`))
  await refused('503 store_unavailable', administer(gateway, '/admin/usage'))
  await refused('503 store_unavailable', administer(gateway, '/admin/requests/one'))
  for (const method of ['PUT', 'DELETE'])
    await refused('503 store_unavailable', administer(gateway, '/admin/usage/2020-01/closing', { method }))
  for (const path of ['/admin/history', '/admin/audit'])
    await refused('503 store_unavailable', administer(gateway, path))
  for (const action of PURGES) await refused('503 store_unavailable', act(gateway, action))
})

t.test('the document describes nothing that was not observed', async t => {
  t.strictSame(contract.unobserved(), [])
})

t.test('the document and the gateway have the same routes', async t => {
  const asDocumented = [...routes].map(route => route.replace(/:(\w+)/g, '{$1}'))
  const undocumented = asDocumented.filter(route => {
    const [, path = ''] = route.split(' ')
    return !contract.operations.includes(route) && !UNDOCUMENTED_ROUTES.some(pattern => pattern.test(path))
  })
  t.strictSame(undocumented, [], 'every route is documented')
  t.strictSame(
    contract.operations.filter(operation => !asDocumented.includes(operation)),
    [],
    'every documented operation is a route',
  )
})

t.test('the document lists the error codes of the gateway', async t => {
  const listed = contract.at('components', 'schemas', 'ErrorCode').enum as string[]
  t.strictSame(listed, Object.keys(ERRORS))
  const promised = contract.codes()
  t.strictSame(
    listed.filter(code => !promised.has(code)),
    [],
    'every code is documented for a route',
  )
})

t.test('the document has the version of the package', async t => {
  const { version } = JSON.parse(await readFile('package.json', 'utf8'))
  t.equal(contract.at('info').version, version)
})

/** Resolves once a request has joined the flight of another one. */
function followerJoined(t: Test): Promise<void> {
  const { join } = Coalescer.prototype
  return new Promise(resolve => {
    const value = function (this: Coalescer<unknown>, ...args: Parameters<typeof join>) {
      const flight = join.apply(this, args)
      if (flight.role === 'follower') resolve()
      return flight
    }
    t.intercept(Coalescer.prototype, 'join', { value })
  })
}

/** A response whose body was read as text. */
function parseAnswer(text: string): Answer {
  const [head = '', body = ''] = text.split('\r\n\r\n')
  const [line = '', ...fields] = head.split('\r\n')
  const headers = Object.fromEntries(
    fields.map(field => [field.slice(0, field.indexOf(':')).toLowerCase(), field.slice(field.indexOf(':') + 1).trim()]),
  )
  return {
    status: Number(line.split(' ')[1]),
    headers,
    body: Buffer.from(body, 'latin1'),
    json: () => JSON.parse(body),
  }
}
