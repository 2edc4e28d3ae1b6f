import t from 'tap'
import { startTestGateway } from '../support/gateway/gateway.js'

t.test('an open circuit breaker stops calls, serves hits and stale results, and is reported to operators', async t => {
  const realNow = Date.now
  let aheadMs = 0
  t.intercept(Date, 'now', { value: () => realNow() + aheadMs })
  const gateway = await startTestGateway({ env: { CACHE_TTL_SECONDS: '60' } })
  t.teardown(gateway.stop)
  await gateway.segment({ prompt: 'old' })
  aheadMs = 61_000
  await gateway.segment({ prompt: 'fresh' })
  t.match(await (await gateway.fetch('/readyz')).json(), { checks: { breaker: 'closed' } })
  t.match(await gateway.metrics(), /^segmind_gateway_breaker_open 0$/m)

  gateway.upstream.script(() => ({ how: 'reset' }))
  for (let failure = 0; failure < 5; failure++) {
    const answer = await gateway.segment({ prompt: `thing ${failure}` })
    t.match(await answer.json(), { code: 'upstream_failed', billed: 'unknown' })
  }
  const calls = gateway.upstream.calls.length
  const refused = await gateway.segment({ prompt: 'another thing' })
  t.equal(refused.status, 503)
  t.match(await refused.json(), { code: 'upstream_unavailable', billed: 'no', retryable: true })
  t.ok(Number(refused.headers.get('retry-after')) >= 1)
  t.equal((await gateway.segment({ prompt: 'fresh' })).headers.get('x-cache'), 'HIT')
  const stale = await gateway.segment({ prompt: 'old' })
  t.equal(stale.headers.get('x-cache'), 'STALE')
  t.match(stale.headers.get('cache-status'), /; ttl=-\d+$/)
  t.equal(gateway.upstream.calls.length, calls, 'Segmind was not called')

  const ready = await gateway.fetch('/readyz')
  t.equal(ready.status, 200)
  t.match(await ready.json(), { status: 'ready', checks: { breaker: 'open' } })
  t.match(await gateway.metrics(), /^segmind_gateway_breaker_open 1$/m)
  const usage = (await (await gateway.fetch('/usage')).json()) as { totals: object }
  t.match(usage.totals, { paidCalls: 2, unknownCalls: 5, pendingCalls: 0 })
})
