import t from 'tap'
import { startTestGateway } from '../support/gateway.js'

t.test('a photo with a prompt comes back segmented, the second time from the cache', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const miss = await gateway.segment({ prompt: 'the dog' })
  t.equal(miss.status, 200)
  t.equal(miss.headers.get('x-cache'), 'MISS')
  const hit = await gateway.segment({ prompt: 'the dog' })
  t.equal(hit.headers.get('x-cache'), 'HIT')
  t.strictSame(Buffer.from(await hit.arrayBuffer()), Buffer.from(await miss.arrayBuffer()))
  t.equal(gateway.upstream.calls.length, 1)
  t.match(await gateway.metrics(), 'segmind_gateway_results_total{team="vision",cache="hit"} 1')
})
