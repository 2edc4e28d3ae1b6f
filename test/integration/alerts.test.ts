import t from 'tap'
import { startReceiver } from '../alerts/receiver.js'
import { startTestGateway } from '../support/gateway/gateway.js'
import { startRedis } from '../support/programs/redis-server.js'

t.test('two replicas send one alert each for a budget, a refused shared key and empty credits', async t => {
  const receiver = await startReceiver(t)
  const redis = await startRedis()
  t.teardown(() => redis.close())
  const env = { ALERT_WEBHOOK_URL: receiver.url }
  const teams = { vision: { budget: { daily: 0.002 } }, labs: {} }
  const one = await startTestGateway({ env, teams, redisUrl: redis.url })
  t.teardown(one.stop)
  const two = await startTestGateway({ env, teams, redisUrl: redis.url, upstream: one.upstream, keys: one.keys })
  t.teardown(two.stop)

  one.upstream.script({ headers: { 'x-cost': '0.0017' } })
  t.equal((await one.segment({ prompt: 'dog' })).status, 200)
  // Both replicas see the refused key and check all conditions.
  one.upstream.script({ status: 401, body: { error: 'no' } }, { status: 401, body: { error: 'no' } })
  await Promise.all([one, two].map((gateway, index) => gateway.segment({ prompt: `cat ${index}` }, { team: 'labs' })))
  one.upstream.remaining = 0
  one.upstream.script({ status: 406, body: { error: 'Insufficient credits' } })
  t.equal((await two.segment({ prompt: 'bird' }, { team: 'labs' })).status, 503)
  await receiver.until(3)
  await Promise.all([one, two].map(({ stop }) => stop()))
  const messages = receiver.received.map(({ message }) => message)
  t.same(messages.map(({ type }) => type).sort(), ['budget.threshold', 'credits.state', 'upstream.unauthorized'])
  const budget = messages.find(({ type }) => type === 'budget.threshold')
  t.match(budget, { data: { team: 'vision', window: 'daily', threshold: 0.8 }, text: /vision has used 85 %/ })
  for (const gateway of [one, two]) t.notMatch(gateway.logText(), receiver.url, 'the URL is a secret')
})
