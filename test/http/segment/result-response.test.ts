import type { FastifyReply } from 'fastify'
import t from 'tap'
import { type Rendering, sendAnswer } from '../../../src/http/segment/result-response.js'
import type { SegmentAnswer } from '../../../src/segment/pipeline.js'

const BOUGHT_AT = 1_000_000

function rendered(answer: Partial<SegmentAnswer>, rendering: Partial<Rendering> = {}) {
  const sent: { headers: Record<string, string>; type?: string; body?: unknown } = { headers: {} }
  const reply = {
    headers: (headers: Record<string, string>) => Object.assign(sent.headers, headers) && reply,
    type: (type: string) => Object.assign(sent, { type }) && reply,
    send: (body: unknown) => Object.assign(sent, { body }) && reply,
  }
  const result = {
    body: Buffer.from('jpeg'),
    contentType: 'image/jpeg',
    etag: 'e'.repeat(32),
    storedAt: BOUGHT_AT,
    cost: 1,
  }
  const timing = { cacheMs: 1, queueMs: 2.25, upstreamMs: 1700.04 }
  sendAnswer(
    reply as unknown as FastifyReply,
    { how: 'hit', key: 'k', result, charged: 0, stored: true, isReplay: false, timing, ...answer },
    {
      base64: false,
      imageDigest: 'd',
      ignoredFields: [],
      directives: { noCache: false, noStore: false, onlyIfCached: false },
      remaining: undefined,
      uploadMs: 3,
      now: BOUGHT_AT + 10_900,
      freshSeconds: 60,
      ...rendering,
    },
  )
  return sent
}

t.test('Cache-Status follows RFC 9211, and X-Cache is one word', t => {
  const young = { directives: { noCache: false, noStore: false, onlyIfCached: false, maxAgeSeconds: 5 } }
  const rows: [answer: Partial<SegmentAnswer>, rendering: Partial<Rendering>, status: string, word: string][] = [
    [{ how: 'hit' }, {}, 'hit; ttl=49', 'HIT'],
    [{ how: 'stale' }, { now: BOUGHT_AT + 70_000 }, 'hit; ttl=-10', 'STALE'],
    [{ how: 'miss' }, {}, 'fwd=miss; fwd-status=200; stored', 'MISS'],
    [{ how: 'miss', stored: false }, {}, 'fwd=miss; fwd-status=200', 'MISS'],
    [{ how: 'miss' }, young, 'fwd=request; fwd-status=200; stored', 'MISS'],
    [{ how: 'coalesced' }, {}, 'fwd=miss; fwd-status=200; stored; collapsed', 'COALESCED'],
    [{ how: 'bypass', stored: false }, {}, 'fwd=request; fwd-status=200', 'BYPASS'],
  ]
  for (const [answer, rendering, status, word] of rows) {
    const { headers } = rendered(answer, rendering)
    t.equal(headers['cache-status'], `segmind-gateway; ${status}`)
    t.equal(headers['x-cache'], word)
  }
  t.end()
})

t.test('headers state cost, balance, age and timing', t => {
  const { headers } = rendered({ charged: 1_700_000 }, { remaining: 4_998_300_000, ignoredFields: ['coordinates'] })
  t.match(headers, {
    'x-cost': '0.0017',
    'x-remaining-credits': '4.9983',
    'x-ignored-fields': 'coordinates',
    age: '10',
    'server-timing': 'upload;dur=3.0, cache;dur=1.0, queue;dur=2.3, upstream;dur=1700.0',
  })
  const unknown = rendered({}).headers
  t.equal(unknown['x-cost'], '0')
  t.notOk('x-remaining-credits' in unknown, 'an unknown value is omitted, never 0')
  t.notOk('x-ignored-fields' in unknown)
  t.equal(rendered({}, { now: BOUGHT_AT - 5_000 }).headers.age, '0', 'a clock that differs gives no negative age')
  t.end()
})

t.test('the base64 form of a picture has its own ETag', t => {
  const picture = rendered({})
  t.match(picture, { type: 'image/jpeg', body: Buffer.from('jpeg') })
  const json = rendered({}, { base64: true })
  t.equal(json.type, 'application/json; charset=utf-8')
  t.strictSame(JSON.parse(String(json.body)), { image: Buffer.from('jpeg').toString('base64') })
  t.equal(picture.headers.etag, `"${'e'.repeat(32)}"`)
  t.equal(json.headers.etag, `"${'e'.repeat(32)}-base64"`)
  t.end()
})
