import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import type { Params } from '../../src/contracts/types.js'
import { createHistoryClient } from '../../src/segmind/history-client.js'
import { readHistory } from '../../src/segmind/wire-history.js'
import { segmentBody } from '../../src/segmind/wire-request.js'
import { type FakeRow, type FakeSegmind, startFakeSegmind } from '../support/doubles/fake-segmind.js'

const NOW = Date.UTC(2026, 10, 28, 12)
const HOUR = 3_600_000

async function setUp(t: Test, maxAnswerBytes = 100_000) {
  const fake = await startFakeSegmind()
  const client = createHistoryClient({
    url: fake.url,
    apiKey: fake.apiKey,
    spacingMs: 0,
    timeoutMs: 500,
    maxAnswerBytes,
  })
  t.teardown(async () => {
    await client.close()
    await fake.close()
  })
  return { fake, client }
}

function addRows(fake: FakeSegmind, count: number, more: Partial<FakeRow> = {}): void {
  for (let index = 0; index < count; index++)
    fake.rows.push({
      request_id: `r${index}`,
      model_name: 'sam-v2-image',
      model_status: 'COMPLETED',
      credits_deduction: 0.0017,
      model_created: new Date(NOW - (count - index) * 1000).toISOString(),
      ...more,
    })
}

const list = async (client: ReturnType<typeof createHistoryClient>) => client.list(NOW - HOUR, NOW)

t.test('rows are read exactly and defensively', async t => {
  const rows = readHistory(
    JSON.stringify({
      total: 3,
      filters: [],
      data: {
        requests: [
          {
            request_id: 'a',
            model_status: 'COMPLETED',
            credits_deduction: '0.0015800934',
            model_created: '2026-11-28 12:00:00',
          },
          {
            request_id: 'b',
            model_status: 'FAILED',
            credits_deduction: 0,
            user_email: 'a@b.c',
            timestamps: { created: 1796000000 },
          },
          {
            request_id: 'c',
            model_status: 'NEW',
            credits_deduction: null,
            request_body: { image: 'x' },
            generation_url: 7,
          },
          { request_id: 'd', credits_deduction: -1 },
          { no: 'id' },
        ],
      },
    }),
  )
  t.same(rows, [
    { requestId: 'a', model: '', status: 'completed', cost: 1_580_093, at: NOW },
    { requestId: 'b', model: '', status: 'failed', cost: 0, user: 'a@b.c', at: 1_796_000_000_000 },
    { requestId: 'c', model: '', status: 'pending' },
    { requestId: 'd', model: '', status: 'pending' },
  ])
  t.same(readHistory('{"data":[]}'), [])
  for (const body of ['<html>', '{"error":"no"}', '7', '', '{"data":[{"id":1}]}'])
    t.equal(readHistory(body), undefined, body)
})

t.test('what was asked is read as the gateway sent it', async t => {
  const bytes = Buffer.from('image')
  const image = { type: 'jpeg', digest: 'x', chunks: [bytes], byteLength: bytes.length } as const
  const digest = createHash('sha256').update(bytes).digest('hex')
  for (const params of [
    { prompt: 'a cat', overlayMask: true },
    {
      coordinates: [[1, 2.5]],
      removeCoordinates: [
        [3, 4],
        [5, 6],
      ],
      overlayMask: false,
    } as Params,
  ]) {
    const body = JSON.parse(segmentBody(image, params).encode().toString())
    t.same(readHistory(JSON.stringify([{ request_id: 'a', request_body: body }]))?.[0]?.question, {
      image: digest,
      params,
    })
  }
  for (const body of [
    { image: 'https://x.invalid/a.jpg', overlay_mask: true },
    'text',
    null,
    { image: 7 },
    { image: 'QUJD', overlay_mask: true, coordinates: '[' },
  ])
    t.equal(readHistory(JSON.stringify([{ request_id: 'a', request_body: body }]))?.[0]?.question, undefined)
})

t.test('a list has one row for each request, newest first, and is bounded', async t => {
  const { fake, client } = await setUp(t)
  addRows(fake, 60)
  fake.rows.push({ ...(fake.rows[59] as FakeRow), credits_deduction: null })
  const { rows, isComplete } = await list(client)
  t.ok(isComplete)
  t.equal(rows.length, 60)
  t.match(rows[0], { requestId: 'r59', cost: 1_700_000 })
  t.match(fake.historyCalls[0], /from_date=2026-11-28&to_date=2026-11-28&page=1&per_page=50/)
  fake.rows.length = 0
  addRows(fake, 600)
  t.match(await list(client), { isComplete: false })
})

t.test('a list ends at a row that is older than its beginning', async t => {
  const { fake, client } = await setUp(t)
  addRows(fake, 200, { model_created: new Date(NOW - 2 * HOUR).toISOString() })
  t.match(await list(client), { isComplete: true })
  t.equal(fake.historyCalls.length, 1)
})

t.test('pages that are too large are asked for in smaller ones', async t => {
  const { fake, client } = await setUp(t, 30_000)
  addRows(fake, 30, { request_body: { image: 'A'.repeat(2_000) } })
  const { rows } = await list(client)
  t.equal(rows.length, 30)
  const tiny = await setUp(t, 1_000)
  addRows(tiny.fake, 1, { request_body: { image: 'A'.repeat(2_000) } })
  await t.rejects(list(tiny.client), { code: 'upstream_failed', message: /too large/ })
})

t.test('one request is found by its id', async t => {
  const { fake, client } = await setUp(t)
  addRows(fake, 2)
  t.match(await client.find('r1'), { requestId: 'r1', cost: 1_700_000 })
  t.equal(await client.find('r9'), undefined)
  t.equal(await client.find('a/b?c'), undefined)
})

t.test('failures have a code and no text of the answer', async t => {
  const { fake, client } = await setUp(t)
  const body = { error: `key ${fake.apiKey} prompt of a caller` }
  for (const [status, code] of [
    [401, 'upstream_unauthorized'],
    [403, 'upstream_unauthorized'],
    [404, 'upstream_rejected'],
    [429, 'upstream_busy'],
    [500, 'upstream_failed'],
  ] as const) {
    fake.scriptHistory({ status, body })
    const error = await list(client).catch(failure => failure)
    t.equal(error.code, code, `${status}`)
    t.notMatch(error.message, /caller|SG_/)
  }
  fake.scriptHistory({ body: '<html>' })
  await t.rejects(list(client), { code: 'upstream_failed', message: /not readable/ })
  fake.scriptHistory({ how: 'hang' })
  await t.rejects(list(client), { code: 'upstream_timeout' })
  fake.scriptHistory({ body: '{"data":[]}', how: 'cut' })
  await t.rejects(list(client), { code: 'upstream_unavailable' })
  await fake.goOffline()
  await t.rejects(list(client), { code: 'upstream_unavailable' })
})
