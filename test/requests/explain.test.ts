import t from 'tap'
import { smallJpeg } from '../fixtures/odd-images.js'
import { eventually } from '../support/eventually.js'
import { startTestGateway, type TestGateway, type TestGatewayOptions } from '../support/gateway/gateway.js'

const ADMIN = 'operators-0123456789'

interface ExplanationJson {
  [member: string]: unknown
  cache: { how?: string; looks: { when: string; found: string; isSure: boolean }[] }
  attempts: { code: string; status?: number }[]
}

async function start(options: TestGatewayOptions = {}) {
  const gateway = await startTestGateway({
    teams: { vision: {}, labs: {}, poor: { budget: { daily: 0 } } },
    ...options,
    env: { ADMIN_KEY: ADMIN, ...options.env },
  })
  t.teardown(gateway.stop)
  return gateway
}

async function explained(
  gateway: TestGateway,
  id: string,
): Promise<{ status: number; text: string; all: ExplanationJson[] }> {
  const answer = await gateway.fetch(`/admin/requests/${encodeURIComponent(id)}`, { headers: { 'x-api-key': ADMIN } })
  const text = await answer.text()
  return { status: answer.status, text, all: JSON.parse(text).explanations ?? [] }
}

/**
 * Polls until the explanation of a request is complete, because it is written after the response.
 */
async function explanation(
  gateway: TestGateway,
  id: string,
  isComplete: (found: ExplanationJson) => boolean = () => true,
): Promise<ExplanationJson> {
  return eventually('the request was never explained', async () => {
    const { status, text, all } = await explained(gateway, id)
    if (status >= 500) throw new Error(text)
    const [newest] = all
    return newest && isComplete(newest) && newest
  })
}

const as = (requestId: string) => ({ headers: { 'x-request-id': requestId } })

t.test('a miss is explained with question, lookups, attempts, waits and charge', async t => {
  const gateway = await start()
  const bill = { 'x-cost': '0.0017', 'x-remaining-credits': '4.9983', 'x-request-id': 'up-1' }
  gateway.upstream.script({ status: 500 }, { headers: bill })
  await gateway.segment({ prompt: ' a  dog ', overlay_mask: 'false' }, as('app/1'))
  const found = await explanation(gateway, 'app/1')
  t.match(found, {
    requestId: 'app/1',
    route: '/segment',
    team: 'vision',
    keyId: /^\w{8}$/,
    status: 200,
    question: {
      resultId: /^[0-9a-f]{64}$/,
      version: 'v1',
      model: 'sam-v2-image',
      imageId: /^sha256:[0-9a-f]{64}$/,
      params: { overlayMask: false },
      cacheControl: [],
      idempotencyKey: false,
    },
    cache: {
      how: 'miss',
      looks: [
        { when: 'first', found: 'nothing', isSure: true },
        { when: 'again', found: 'nothing', isSure: true },
      ],
    },
    flight: { role: 'leader', seat: 'first' },
    call: {
      purchase: 'first',
      outcome: 'charged',
      costCredits: 0.0017,
      costSource: 'header',
      upstreamRequestId: 'up-1',
    },
    attempts: [
      { code: 'upstream_failed', status: 500 },
      { code: 'ok', status: 200 },
    ],
    waits: { uploadMs: Number, cacheMs: Number, queueMs: Number, upstreamMs: Number, totalMs: Number },
    chargedCredits: 0.0017,
    balanceAfterCredits: 4.9983,
  })
  const { text } = await explained(gateway, 'app/1')
  t.notMatch(text, gateway.key, 'the key does not appear')
  t.notMatch(text, gateway.upstream.apiKey)
  t.notMatch(text, (await smallJpeg()).toString('base64').slice(0, 40), 'the picture does not appear')
})

t.test('requests at the Segmind routes are explained too, jobs once they have ended', async t => {
  const gateway = await start()
  const image = (await smallJpeg()).toString('base64')
  for (const version of ['v1', 'v2']) {
    const answer = await gateway.fetch(`/${version}/sam-v2-image`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-request-id': version },
      body: JSON.stringify({ image, prompt: `a dog for ${version}` }),
    })
    await answer.arrayBuffer()
    const found = await explanation(gateway, version, ({ attempts }) => attempts.length > 0)
    t.match(found, { route: `/${version}/sam-v2-image`, call: { outcome: 'charged' }, attempts: [{ code: 'ok' }] })
  }
})

t.test('a hit is explained with its lookup and without a call', async t => {
  const gateway = await start()
  await gateway.segment({ prompt: 'dog' })
  await gateway.segment({ prompt: 'dog' }, as('again'))
  const found = await explanation(gateway, 'again')
  t.match(found, {
    status: 200,
    cache: { how: 'hit', looks: [{ when: 'first', found: 'wanted' }] },
    chargedCredits: 0,
    attempts: [],
  })
  t.equal(found.call, undefined)
  t.equal(found.flight, undefined)
})

t.test('a follower is explained with the call of its leader', async t => {
  const gateway = await start()
  const gate = gateway.upstream.hold()
  const first = gateway.segment({ prompt: 'dog' }, { ...as('leads'), team: 'labs' })
  await gateway.upstream.arrived(1)
  const second = gateway.segment({ prompt: 'dog' }, as('follows'))
  // After these responses the second request has certainly joined.
  for (let other = 0; other < 10; other++) await gateway.fetch('/usage')
  gate.open()
  await Promise.all([first, second])
  const found = await explanation(gateway, 'follows')
  t.match(found, {
    cache: { how: 'coalesced' },
    flight: {
      role: 'follower',
      leader: { team: 'labs', requestId: 'leads', isElsewhere: false, call: { outcome: 'charged' } },
    },
    chargedCredits: 0,
  })
})

t.test('a refusal is explained with its code, and a refused call as released', async t => {
  const gateway = await start()
  await gateway.segment({ prompt: 'dog' }, { ...as('poor'), team: 'poor' })
  t.match(await explanation(gateway, 'poor'), {
    status: 429,
    code: 'budget_exhausted',
    flight: { role: 'leader' },
    attempts: [],
  })
  gateway.upstream.script({ status: 422, body: { error: 'no' } })
  await gateway.segment({ prompt: 'dog' }, as('refused'))
  t.match(await explanation(gateway, 'refused'), {
    status: 422,
    code: 'upstream_rejected',
    call: { outcome: 'released' },
    attempts: [{ code: 'upstream_rejected', status: 422 }],
  })
  await gateway.segment({ prompt: '' }, as('wrong'))
  t.match(await explanation(gateway, 'wrong'), { status: 400, code: 'missing_selection', cache: { looks: [] } })
})

t.test('a purchase that continues without its caller is explained again once it has ended', async t => {
  const gateway = await start()
  const gate = gateway.upstream.hold()
  const leaving = new AbortController()
  const request = gateway.segment({ prompt: 'dog' }, { ...as('slow'), signal: leaving.signal }).catch(() => {})
  await gateway.upstream.arrived(1)
  leaving.abort()
  await request
  t.match(await explanation(gateway, 'slow'), { status: 499, call: { outcome: 'reserved' }, attempts: [] })
  gate.open()
  t.match(await explanation(gateway, 'slow', ({ attempts }) => attempts.length > 0), {
    status: 499,
    call: { outcome: 'charged' },
    attempts: [{ code: 'ok' }],
  })
  t.equal((await explained(gateway, 'slow')).all.length, 1)
})

t.test('explanations under one id are listed newest first, and an unknown id is not found', async t => {
  const gateway = await start()
  await gateway.segment({ prompt: 'dog' }, as('twice'))
  await explanation(gateway, 'twice')
  await gateway.segment({ prompt: 'dog' }, as('twice'))
  await explanation(gateway, 'twice', ({ cache }) => cache.how === 'hit')
  t.same(
    (await explained(gateway, 'twice')).all.map(({ cache }) => cache.how),
    ['hit', 'miss'],
  )
  for (const id of ['never', '\0', 'two words', 'a'.repeat(129)])
    t.equal((await explained(gateway, id)).status, 404, id)
})
