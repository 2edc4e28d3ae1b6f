import t from 'tap'
import { startTestGateway } from './support/gateway.js'

/** The values of one metric by its labels, as Prometheus would read them. */
function valuesOf(text: string, name: string): Record<string, number> {
  const lines = text.split('\n').filter(line => line.startsWith(`segmind_gateway_${name}{`))
  return Object.fromEntries(
    lines.map(line => [
      line.slice(line.indexOf('{') + 1, line.indexOf('}')),
      Number(line.slice(line.indexOf('}') + 1)),
    ]),
  )
}

t.test('what is counted under labels that are known beforehand begins at 0', async t => {
  const gateway = await startTestGateway({ teams: { vision: {}, silent: {} } })
  t.teardown(gateway.stop)
  const text = await gateway.metrics()
  t.same(valuesOf(text, 'upstream_retries_total'), { 'why="unsent"': 0, 'why="busy"': 0, 'why="server_error"': 0 })
  t.same(valuesOf(text, 'orphaned_calls_total'), { 'fate="resumed"': 0, 'fate="unknown"': 0 })
  t.same(valuesOf(text, 'lost_results_total'), { 'why="no_room"': 0, 'why="refused"': 0 })
  t.same(Object.keys(valuesOf(text, 'flights_total')).length, 4)
  t.same(valuesOf(text, 'credits_spent_total'), { 'team="vision"': 0, 'team="silent"': 0 })
  t.same(Object.keys(valuesOf(text, 'results_total')).length, 10)
  t.same(valuesOf(text, 'requests_total'), {}, 'statuses are not known beforehand')
})

t.test('beginning at 0 takes nothing from what was counted', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  await (await gateway.segment()).arrayBuffer()
  await (await gateway.segment()).arrayBuffer()
  await gateway.metrics()
  const text = await gateway.metrics()
  t.same(valuesOf(text, 'credits_spent_total'), { 'team="vision"': 0.0017 })
  t.same(valuesOf(text, 'credits_saved_total'), {
    'team="vision",how="cache"': 0.0017,
    'team="vision",how="coalesced"': 0,
  })
})

t.test('a request that is sent to Segmind again is counted by why', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  gateway.upstream.script({ status: 500, body: '' })
  t.equal((await gateway.segment({ prompt: 'one' })).status, 200)
  gateway.upstream.script({ status: 429, body: '', headers: { 'retry-after': '0' } })
  t.equal((await gateway.segment({ prompt: 'two' })).status, 200)
  await gateway.upstream.goDown()
  await (await gateway.segment({ prompt: 'three' })).arrayBuffer()
  const values = valuesOf(await gateway.metrics(), 'upstream_retries_total')
  t.same(values, { 'why="unsent"': 2, 'why="busy"': 1, 'why="server_error"': 1 })
})
