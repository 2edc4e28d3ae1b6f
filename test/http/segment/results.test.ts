import t from 'tap'
import { eventually } from '../../support/eventually.js'
import { startTestGateway } from '../../support/gateway/gateway.js'

t.test('respond-async answers 202 with a location that later returns the picture', async t => {
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
  const answer = await finished(() => gateway.fetch(`/results/${id}`))
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

t.test('the team that bought a result gets its purchase cost, in every form', async t => {
  const gateway = await startTestGateway({ teams: { vision: {}, blue: {} } })
  t.teardown(gateway.stop)
  const fields = { prompt: 'dog', overlay_mask: 'false' }
  const bought = await gateway.segment(fields)
  t.equal(bought.headers.get('x-purchase-cost'), null, 'the purchase itself has x-cost')
  const path = `/results/${bought.headers.get('x-result-id')}`
  const costsOf = async (team: string, query = '', headers: Record<string, string> = {}) => {
    const init = { headers: { 'x-api-key': gateway.keys[team] ?? '', ...headers } }
    const { status, headers: got } = await gateway.fetch(path + query, init)
    return [status, got.get('x-cost'), got.get('x-purchase-cost')]
  }
  t.strictSame(await costsOf('vision'), [200, '0', '0.0017'])
  t.strictSame(await costsOf('vision', '?output=mask'), [200, '0', '0.0017'])
  t.strictSame(await costsOf('vision', '', { 'if-none-match': '*' }), [304, '0', '0.0017'])
  t.strictSame(await costsOf('blue'), [200, '0', null])
  t.equal((await gateway.segment(fields)).headers.get('x-purchase-cost'), null, 'a hit')
})

t.test('respond-async returns a cached picture, and refuses an invalid request, at once', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  await gateway.segment()
  const headers = { prefer: 'respond-async' }
  t.equal((await gateway.segment({ prompt: 'dog' }, { headers })).headers.get('x-cache'), 'HIT')
  const refused = await gateway.segment({}, { headers })
  t.match(await refused.json(), { code: 'missing_selection' })
})

t.test('the location keeps base64=true', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const held = gateway.upstream.hold()
  const headers = { prefer: 'respond-async, wait=0' }
  const accepted = await gateway.segment({ prompt: 'dog', base64: 'true' }, { headers })
  t.match(accepted.headers.get('location'), /\?base64=true$/)
  held.open()
})

t.test('the result location reports the error of a failed purchase', async t => {
  const gateway = await startTestGateway({ env: { RETRY_SERVER_ERRORS: 'false' } })
  t.teardown(gateway.stop)
  const held = gateway.upstream.hold()
  gateway.upstream.script({ status: 422, body: { error: 'cannot segment this' } })
  const accepted = await gateway.segment({ prompt: 'dog' }, { headers: { prefer: 'respond-async, wait=0' } })
  held.open()
  const path = accepted.headers.get('location') ?? ''
  const answer = await finished(() => gateway.fetch(path))
  t.match(await answer.json(), { code: 'upstream_rejected', status: 422, billed: 'no' })
})

t.test('an invalid id is an unknown result, and a key is required', async t => {
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

t.test('an Idempotency-Key used for another question, or too long for a header, is refused', async t => {
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

/** Repeats a request until its result is no longer pending. */
function finished(look: () => Promise<Response>): Promise<Response> {
  return eventually('the result never finished', async () => {
    const answer = await look()
    return answer.status !== 202 && answer
  })
}
