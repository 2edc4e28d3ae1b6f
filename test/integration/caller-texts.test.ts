import t, { type Test } from 'tap'
import { otherJpeg } from '../fixtures/jpeg.js'
import { startTestGateway, type TestGateway } from '../support/gateway/gateway.js'
import { ask } from '../support/gateway/raw-client.js'

const image = (await otherJpeg(3)).toString('base64')

/** Texts that cannot be written as UTF-8, or arrived broken, and how JSON spells them. */
const BROKEN: Record<string, string> = {
  'the first half of a surrogate pair': 'a\ud800',
  'the second half': '\udc00b',
  'the halves in the wrong order': '\udc00\ud800',
  'U+FFFD': 'a\ufffdb',
}

async function open(t: Test): Promise<TestGateway> {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  return gateway
}

/** Sends JSON in ASCII: `JSON.stringify` escapes lone surrogates. */
async function post(gateway: TestGateway, path: string, body: object, headers: Record<string, string> = {}) {
  return ask(gateway.url + path, {
    method: 'POST',
    headers: { 'x-api-key': gateway.key, 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ image, ...body }),
  })
}

for (const [what, text] of Object.entries(BROKEN)) {
  t.test(`${what} is refused by name before a purchase, wherever a caller writes it`, async t => {
    const gateway = await open(t)
    const rows: [where: string, path: string, body: object, named: RegExp][] = [
      ['a prompt', '/segment', { prompt: text }, /^prompt /],
      ['points', '/segment', { coordinates: `[1,2]${text}` }, /^coordinates /],
      ['an output', '/segment', { prompt: 'dog', output: text }, /^output /],
      ['a boolean', '/segment', { prompt: 'dog', overlay_mask: text }, /^overlay_mask /],
      ['the name of a field', '/segment', { prompt: 'dog', [text]: 1 }, /unknown field/],
      ['an image', '/segment', { prompt: 'dog', image: text }, /^image/],
      ['a URL', '/segment', { prompt: 'dog', image: `http://127.0.0.1/${text}` }, /^image/],
      ['a prompt of v1', '/v1/sam-v2-image', { prompt: text }, /^prompt /],
      ['a prompt of v2', '/v2/sam-v2-image', { prompt: text }, /^prompt /],
      ['a quote', '/segment/quote', { prompt: text }, /^prompt /],
      ['a list of selections', '/segment/batch', { selections: text }, /^selections /],
      ['an output of a batch', '/segment/batch', { selections: [{ prompt: 'dog' }], output: text }, /^output /],
    ]
    for (const [where, path, body, named] of rows) {
      const answer = await post(gateway, path, body)
      const isItem = path === '/segment/batch' && answer.status === 200
      const problem = isItem ? problemsOf(answer.body)[0] : answer.json()
      t.match(problem, { status: 400, billed: 'no', detail: named }, where)
    }
    t.equal(gateway.upstream.calls.length, 0)
  })

  t.test(`${what} in the id of a selection fails that selection alone, in both formats`, async t => {
    for (const accept of ['application/x-ndjson', 'multipart/mixed']) {
      const gateway = await open(t)
      const ids = ['a', 'b', text, 'd', 'e']
      const selections = ids.map((id, index) => ({ id, prompt: `number ${index}` }))
      const answer = await post(gateway, '/segment/batch', { selections }, { accept })
      t.equal(answer.status, 200)
      t.match(problemsOf(answer.body), [{ status: 400, code: 'invalid_parameter', billed: 'no', detail: /^id / }])
      t.equal(gateway.upstream.calls.length, 4, 'nothing was bought for it')
      for (const id of ['a', 'b', 'd', 'e'])
        t.match(answer.body.toString('latin1'), new RegExp(`"id":"${id}"|X-Selection-Id: ${id}\\r\\n`))
    }
  })
}

/** Returns every problem in the items of a batch. */
function problemsOf(body: Buffer): Record<string, unknown>[] {
  return [...body.toString('latin1').matchAll(/\{"type":[^{}]*\}/g)].map(([text]) => JSON.parse(text))
}

t.test('an id of any other characters comes back as it was sent', async t => {
  const gateway = await open(t)
  const ids = ['\u{1f415} dog', 'a\r\nX-Cost: 9', '\0', '\u2028', '%', '']
  const selections = ids.map(id => ({ id, prompt: 'dog' }))
  const lines = await post(gateway, '/segment/batch', { selections }, { accept: 'application/x-ndjson' })
  const items = lines.body
    .toString()
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as { id: string; index: number })
  t.strictSame(
    items.sort((one, other) => one.index - other.index).map(({ id }) => id),
    ids,
  )
  const parts = await post(gateway, '/segment/batch', { selections }, { accept: '*/*' })
  const encoded = [...parts.body.toString('latin1').matchAll(/X-Selection-Id: (.*)\r\n/g)].map(([, id = '']) => id)
  t.strictSame(encoded.map(decodeURIComponent), ids)
})

t.test('headers of a caller are refused or replaced before a purchase', async t => {
  const gateway = await open(t)
  for (const key of ['', 'k'.repeat(256), 'k\u00e9', 'a\tb']) {
    const answer = await post(gateway, '/segment', { prompt: 'dog' }, { 'idempotency-key': key })
    t.match(answer.json(), { status: 400, code: 'invalid_request', detail: /Idempotency-Key/ }, JSON.stringify(key))
  }
  t.equal(gateway.upstream.calls.length, 0)
  for (const id of ['', 'a b', 'a\u00e9', 'r'.repeat(129)]) {
    const { status, headers } = await post(gateway, '/segment', { prompt: 'dog' }, { 'x-request-id': id })
    t.equal(status, 200)
    t.match(headers['x-request-id'], /^[0-9a-f-]{36}$/, JSON.stringify(id))
  }
})

t.test('paths and queries with broken text get an error of the caller', async t => {
  const gateway = await open(t)
  const rows: [path: string, status: number][] = [
    ['/results/%ED%A0%80', 400],
    ['/results/%EF%BF%BD', 404],
    ['/images/%ED%A0%80', 400],
    ['/v2/requests/%EF%BF%BD', 404],
    [`/results/${'0'.repeat(64)}?output=%ED%A0%80`, 400],
    ['/usage?month=%ED%A0%80', 400],
    ['/outputs/%EF%BF%BD.jpg?expires=%ED%A0%80&signature=%EF%BF%BD', 404],
  ]
  for (const [path, status] of rows) {
    const method = path.startsWith('/images') ? 'DELETE' : 'GET'
    t.equal((await ask(gateway.url + path, { method, headers: { 'x-api-key': gateway.key } })).status, status, path)
  }
})
