import t from 'tap'
import { startTestGateway } from '../support/gateway.js'

t.test('who would rather come back is told where, asks there, and gets the picture', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const held = gateway.upstream.hold()
  const accepted = await gateway.segment({ prompt: 'dog' }, { headers: { prefer: 'respond-async' } })
  t.equal(accepted.status, 202)
  const id = accepted.headers.get('x-result-id') ?? ''
  t.match(id, /^[0-9a-f]{64}$/)
  t.match(Object.fromEntries(accepted.headers), {
    location: `/results/${id}`,
    'preference-applied': 'respond-async',
    'retry-after': '2',
    'cache-control': 'no-store',
    'x-image-id': /^sha256:/,
  })
  t.same(await accepted.json(), { status: 'running', resultId: id })

  const early = await gateway.fetch(`/results/${id}`)
  t.equal(early.status, 202)
  t.equal(early.headers.get('retry-after'), '2')
  held.open()
  let answer = await gateway.fetch(`/results/${id}`)
  while (answer.status === 202) answer = await gateway.fetch(`/results/${id}`)
  t.equal(answer.status, 200)
  t.match(Object.fromEntries(answer.headers), {
    'content-type': 'image/jpeg',
    'x-cache': 'HIT',
    'x-cost': '0',
    'x-result-id': id,
    'x-image-id': accepted.headers.get('x-image-id') ?? '',
    'cache-status': /^segmind-gateway; hit; ttl=\d+$/,
    'x-remaining-credits': /^\d/,
    etag: /^"[0-9a-f]{32}"$/,
  })
  t.equal(gateway.upstream.calls.length, 1)

  const etag = answer.headers.get('etag') ?? ''
  for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
    const unchanged = await gateway.fetch(`/results/${id}`, { headers: { 'if-none-match': known } })
    t.equal(unchanged.status, 304, known)
    t.equal(unchanged.headers.get('etag'), etag)
    t.equal((await unchanged.arrayBuffer()).byteLength, 0)
  }
  const changed = await gateway.fetch(`/results/${id}`, { headers: { 'if-none-match': '"other"' } })
  t.equal(changed.status, 200)
  const head = await gateway.fetch(`/results/${id}`, { method: 'HEAD' })
  t.equal(head.status, 200)
  t.equal((await head.arrayBuffer()).byteLength, 0)

  const rendered = await gateway.fetch(`/results/${id}?base64=true`)
  t.same(
    Buffer.from(((await rendered.json()) as { image: string }).image, 'base64'),
    Buffer.from(await changed.arrayBuffer()),
  )
  t.equal(rendered.headers.get('etag'), etag.replace(/"$/, '-base64"'))
  t.equal((await gateway.fetch(`/results/${id}?base64=perhaps`)).status, 400)
})

t.test('respond-async with a picture at hand answers it; a form that cannot be right is refused at once', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  await gateway.segment()
  const headers = { prefer: 'respond-async' }
  t.equal((await gateway.segment({ prompt: 'dog' }, { headers })).headers.get('x-cache'), 'HIT')
  const refused = await gateway.segment({}, { headers })
  t.match(await refused.json(), { code: 'missing_selection' })
})

t.test('base64 is asked for again where the answer will be', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const held = gateway.upstream.hold()
  const headers = { prefer: 'respond-async, wait=0' }
  const accepted = await gateway.segment({ prompt: 'dog', base64: 'true' }, { headers })
  t.match(accepted.headers.get('location'), /\?base64=true$/)
  held.open()
})

t.test('what a purchase failed with is told where its answer would have been', async t => {
  const gateway = await startTestGateway({ env: { RETRY_SERVER_ERRORS: 'false' } })
  t.teardown(gateway.stop)
  const held = gateway.upstream.hold()
  gateway.upstream.script({ status: 422, body: { error: 'no such thing' } })
  const accepted = await gateway.segment({ prompt: 'dog' }, { headers: { prefer: 'respond-async, wait=0' } })
  held.open()
  const path = accepted.headers.get('location') ?? ''
  let answer = await gateway.fetch(path)
  while (answer.status === 202) answer = await gateway.fetch(path)
  t.match(await answer.json(), { code: 'upstream_rejected', status: 422, billed: 'no' })
})

t.test('there is nothing under an id that is none, and nothing without a key', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  for (const id of ['0'.repeat(64), 'x', 'once:1', 'A'.repeat(64)]) {
    t.match(await (await gateway.fetch(`/results/${id}`)).json(), { code: 'unknown_result', status: 404 }, id)
  }
  const anonymous = await gateway.fetch(`/results/${'0'.repeat(64)}`, { headers: { 'x-api-key': '' } })
  t.match(await anonymous.json(), { code: 'unauthorized' })
  const wrongVerb = await gateway.fetch(`/results/${'0'.repeat(64)}`, { method: 'DELETE' })
  t.equal(wrongVerb.headers.get('allow'), 'GET, HEAD')
})

t.test('an Idempotency-Key for another question is refused, and one that is no text for a header too', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const headers = { 'cache-control': 'no-store', 'idempotency-key': 'order-1' }
  t.equal((await gateway.segment({ prompt: 'dog' }, { headers })).headers.get('x-cache'), 'BYPASS')
  const other = await gateway.segment({ prompt: 'cat' }, { headers })
  t.match(await other.json(), { code: 'idempotency_key_reused', status: 422, billed: 'no' })
  const long = await gateway.segment({ prompt: 'dog' }, { headers: { ...headers, 'idempotency-key': 'x'.repeat(256) } })
  t.match(await long.json(), { code: 'invalid_request', detail: /Idempotency-Key/ })
  t.equal(gateway.upstream.calls.length, 1)
})
