import t from 'tap'
import { listenForMetrics } from '../../../src/http/server/metrics-listener.js'
import { startTestGateway } from '../../support/gateway/gateway.js'
import { ask } from '../../support/gateway/raw-client.js'

t.test('the metrics listener serves one path', async t => {
  let isBroken = false
  const expose = async () => {
    if (isBroken) throw new Error('broken')
    return { contentType: 'text/plain', text: 'up 1\n' }
  }
  const listener = await listenForMetrics({ host: '127.0.0.1', port: 0, expose })
  t.teardown(listener.close)
  const url = `http://127.0.0.1:${listener.port}`
  t.match(await ask(`${url}/metrics?x=1`), { status: 200, headers: { 'content-type': 'text/plain' } })
  t.equal((await ask(`${url}/metrics`)).body.toString(), 'up 1\n')
  t.equal((await ask(`${url}/metrics`, { method: 'HEAD' })).body.length, 0)
  t.match(await ask(`${url}/metrics`, { method: 'POST' }), { status: 405, headers: { allow: 'GET, HEAD' } })
  t.equal((await ask(`${url}/healthz`)).status, 404)
  isBroken = true
  t.equal((await ask(`${url}/metrics`)).status, 500)
  await t.rejects(listenForMetrics({ host: '127.0.0.1', port: listener.port, expose }), { code: 'EADDRINUSE' })
})

t.test('METRICS_HOST, not HOST, decides where metrics are served', async t => {
  const gateway = await startTestGateway({ env: { METRICS_HOST: 'localhost' } })
  t.teardown(gateway.stop)
  t.match(gateway.url, '//127.0.0.1:')
  t.match(gateway.metricsUrl, '//localhost:')
  t.equal((await ask(`${gateway.metricsUrl}/metrics`)).status, 200)
})

t.test('metrics are served by their own listener only, which does not serve the API', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  t.equal((await ask(`${gateway.url}/metrics`)).status, 404)
  t.equal((await ask(`${gateway.metricsUrl}/usage`)).status, 404)
  const { status, headers } = await ask(`${gateway.metricsUrl}/metrics`)
  t.equal(status, 200)
  t.match(headers['content-type'], /^(text\/plain|application\/openmetrics-text)/)
})
