import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { segmentForm, startTestGateway } from '../support/gateway/gateway.js'
import { startGatewayProcess } from '../support/gateway/gateway-process.js'
import { connectTo } from '../support/gateway/raw-client.js'

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
  t.equal(hit.headers.get('x-sandbox'), null)
  t.match(await (await gateway.fetch('/readyz')).json(), { checks: { upstream: 'segmind' } })
})

t.test('with the sandbox as upstream, every response and /readyz report it', async t => {
  const dataDir = t.testdir()
  const gateway = await startGatewayProcess({ DATA_DIR: dataDir }, { asShipped: true })
  t.teardown(() => gateway.end('SIGKILL'))
  const key = (await readFile(join(dataDir, 'first-team.key'), 'utf8')).trim()
  const body = segmentForm({ prompt: 'the cup' }, await readFile('examples/photos/coffee.jpg'))
  const ask = (body: FormData) =>
    fetch(`${gateway.url}/segment`, { method: 'POST', headers: { 'x-api-key': key }, body })
  const bought = await ask(body)
  t.equal(bought.status, 200)
  t.equal(bought.headers.get('x-sandbox'), 'true')
  t.equal((await ask(new FormData())).headers.get('x-sandbox'), 'true', 'also a failed one')
  const withoutHost = await connectTo(gateway.url)
  withoutHost.send('GET /usage HTTP/1.1\r\nconnection: close\r\n\r\n')
  t.match(
    await withoutHost.ended,
    /^HTTP\/1\.1 400 .*\r\nx-sandbox: true\r\n/s,
    'also on an error without a Host header',
  )
  t.match(await (await fetch(`${gateway.url}/readyz`)).json(), { checks: { upstream: 'sandbox' } })
  t.match(gateway.lines.join('\n'), `embedded, in ${join(dataDir, 'sandbox')}`)
})
