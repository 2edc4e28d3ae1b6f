import { createHash } from 'node:crypto'
import { eventually } from '../support/eventually.js'
import type { Random } from '../support/random.js'
import { keyOf, promptRequest } from './bodies.js'
import type { Case } from './case.js'
import { headerText, oddText } from './values.js'
import { exchange, type FuzzRequest } from './wire.js'
import { ADMIN_KEY } from './world.js'

const HEX = '0123456789abcdef'.repeat(4)
/** Values in and near the grammar of each header. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  'cache-control': [
    'no-cache',
    'no-store',
    'only-if-cached',
    'max-age=0',
    'max-age=1e9',
    'max-age="5"',
    'max-age=',
    'max-age=9'.padEnd(400, '9'),
    'NO-CACHE , no-store',
    'no-cache="x',
    ',,,=;',
  ],
  prefer: [
    'respond-async',
    'wait=0',
    'respond-async, wait=0',
    'wait="0"',
    'wait=-1',
    'wait=999999999999',
    'respond-async; foo="b,ar',
    'return=minimal',
    '=,=;=',
  ],
  'idempotency-key': ['a', '"8e03978e"', 'x'.repeat(255), 'x'.repeat(256), ' ', '\u00e9', 'a, b'],
  'x-priority': ['batch', 'interactive', 'BATCH', 'batch, batch', 'u=1'],
  range: ['bytes=0-0', 'bytes=-1', 'bytes=5-2', 'bytes=0-0,1-1', 'items=1', 'bytes='],
  'if-none-match': ['*', '"x"', 'W/"x"', '"a", "b"', '"', 'W/', `"${HEX}"`],
  'if-match': ['*', '"x"'],
  accept: ['*/*', 'application/x-ndjson', 'image/png;q=0', 'text/csv', ';;;', 'application/json, */*;q=0.1'],
  'accept-encoding': ['gzip', 'br', 'gzip;q=0', '*', 'identity;q=0', ';q='],
  'content-type': [
    'application/json',
    'text/plain',
    'multipart/form-data',
    'multipart/form-data; boundary=',
    'application/json; charset=utf-16',
    'application/json;',
    '/',
    'a/b;c="',
  ],
  'content-encoding': ['identity', 'gzip', 'GZIP, identity', 'x'],
  'content-digest': [
    'sha-256=:AAAA:',
    'sha-256=:x',
    'md5=:AAAA:',
    ',',
    `sha-256=:${'A'.repeat(43)}=:`,
    '__proto__=:AAAA:',
  ],
  'repr-digest': ['sha-512=:AAAA:', 'toString=:AAAA:'],
  host: ['', 'localhost:99999', 'a b', '[::1]', '[', 'a,b', '\u00e9', 'x@y', 'host/path', 'x'.repeat(300)],
  forwarded: ['for=1.2.3.4;proto=https', 'for="[::1]:1"', 'for=unknown', ';;='],
  'x-forwarded-for': ['1.2.3.4', '::1, 1.1.1.1', 'x', ',,', '1.2.3.4:5'],
  'x-forwarded-host': ['evil.example', 'a,b', ''],
  'x-forwarded-proto': ['https', 'javascript'],
  'x-forwarded-prefix': ['/a', '//evil.example', '\\'],
  'x-request-id': ['a', 'a/b:c', 'x'.repeat(129), 'a b', '', '\u00e9'],
  traceparent: [`00-${HEX.slice(0, 32)}-${HEX.slice(0, 16)}-01`, '00-0-0-0', `ff-${HEX}`],
  authorization: ['Bearer', 'Bearer ', 'Basic eDp5', 'bearer x', 'Bearer a b'],
  'x-api-key': ['', 'wrong', 'SG_gw', 'x'.repeat(5_000), 'a, b'],
  origin: ['https://evil.example', 'null', ''],
  expect: ['100-continue', '200-ok', ''],
  te: ['trailers'],
  'x-operator': ['me', 'x'.repeat(65), '\u00e9', '\t'],
  cookie: ['a=b'],
  __proto__: ['x'],
  constructor: ['x'],
}
/** Headers that frame the body: the gateway may wait for a body that never comes. */
const FRAMING: Readonly<Record<string, readonly string[]>> = {
  'content-length': ['0', '-1', '+5', '5, 5', '99999999999999999999', 'x', '1e3', ''],
  'transfer-encoding': ['chunked', 'gzip', 'chunked, chunked', 'identity', 'x'],
}

/** Sends a request with odd headers to one of the routes. */
export async function headersCase(fuzz: Case): Promise<void> {
  const { random } = fuzz
  const request = base(fuzz)
  const added = Array.from({ length: random.between(1, 5) }, () => oddHeader(random))
  const names = new Set(added.map(([name]) => name))
  const isKept = ([name]: [string, string]) => name === 'connection' || !names.has(name) || random.chance(0.2)
  request.headers = [...request.headers.filter(isKept), ...added]
  request.isCut = Object.keys(FRAMING).some(name => names.has(name))
  const answer = await fuzz.send(request)
  const isPoisoned = /evil\.example/.test(JSON.stringify(answer?.headers ?? {}))
  fuzz.check(!isPoisoned, 'a header of an untrusted client decided an address in the answer')
  // The next case counts the calls at Segmind.
  if (answer?.status === 202) await ended(fuzz, `/results/${answer.headers['x-result-id']}`)
}

/** Waits until an accepted purchase has ended. */
function ended(fuzz: Case, path: string): Promise<unknown> {
  const headers: [string, string][] = [['host', 'x'], ['connection', 'close'], ...keyOf(fuzz)]
  return eventually('a purchase in the background never ended', async () => {
    const { answer } = await exchange(fuzz.world.gateway.url, { method: 'GET', path, headers })
    return answer && answer.status !== 202
  })
}

function oddHeader(random: Random): [string, string] {
  const table = random.chance(0.06) ? FRAMING : VALUES
  const name = random.pick(Object.keys(table))
  const given = random.pick(table[name] as string[])
  const text = random.weighted({ given: 6, odd: 2, joined: 1, long: 0.3 })
  if (text === 'odd') return [name, headerText(random, oddText(random))]
  if (text === 'joined') return [name, headerText(random, `${given}, ${random.pick(table[name] as string[])}`)]
  if (text === 'long') return [name, 'v'.repeat(random.pick([4_000, 9_000, 20_000]))]
  return [name, headerText(random, given)]
}

function base({ random, world, seed, ...rest }: Case): FuzzRequest {
  const fuzz = { random, world, seed, ...rest }
  const digest = createHash('sha256').update(world.image).digest('hex')
  const common: [string, string][] = [['host', 'x'], ['connection', 'close'], ...keyOf(fuzz)]
  const get = (path: string, template = path, method = 'GET'): FuzzRequest => ({
    method,
    path,
    template,
    headers: common,
  })
  const post = (path: string, more: object): FuzzRequest => {
    const body = Buffer.from(JSON.stringify({ image: world.image.toString('base64'), ...more }))
    const framing: [string, string][] = [
      ['content-type', 'application/json'],
      ['content-length', `${body.length}`],
    ]
    return { method: 'POST', path, headers: [...common, ...framing], body }
  }
  const prompt = `headers ${random.between(0, 20)}`
  return random.pick([
    () => post('/segment', { prompt }),
    () => post('/segment', { prompt, output: 'overlay', base64: true }),
    () => post('/segment/quote', { prompt }),
    () => post('/segment/batch', { selections: [{ prompt }, { prompt: `${prompt} too` }] }),
    () => post('/images', {}),
    () => post('/v1/sam-v2-image', { prompt }),
    () => post('/v2/sam-v2-image', { prompt }),
    () => get(`/images/sha256:${digest}`, '/images/{id}', 'HEAD'),
    () => get(`/results/${HEX}`, '/results/{id}', random.pick(['GET', 'HEAD'])),
    () => get('/usage'),
    () => get('/v1/get-user-credits'),
    () => get('/readyz'),
    () => get('/docs'),
    () => get('/nothing'),
    () => ({
      ...get('/admin/overview'),
      headers: [...common.slice(0, 2), ['x-api-key', ADMIN_KEY] as [string, string]],
    }),
  ])()
}

/** Checks that the gateway still sells: a new prompt is bought once, and then a hit. */
export async function expectNormalService(fuzz: Case, prompt: string): Promise<void> {
  const { upstream } = fuzz.world.gateway
  const before = upstream.calls.length
  const bought = await fuzz.send(promptRequest(fuzz, prompt))
  fuzz.check(
    bought?.status === 200 && bought.headers['x-cache'] === 'MISS',
    `a normal request got ${bought?.status} ${bought?.body.toString('latin1', 0, 300)}`,
  )
  const hit = await fuzz.send(promptRequest(fuzz, prompt))
  fuzz.check(hit?.headers['x-cache'] === 'HIT' && hit.headers['x-cost'] === '0', 'its repetition was no hit')
  fuzz.check(upstream.calls.length === before + 1, `it made ${upstream.calls.length - before} calls`)
}
