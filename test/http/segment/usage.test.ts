import t from 'tap'
import { startTestGateway } from '../../support/gateway/gateway.js'
import { ask } from '../../support/gateway/raw-client.js'

// biome-ignore lint/suspicious/noExplicitAny: the contract test checks the form of this JSON
type Statement = any

t.test('a statement adds up and covers the requesting team only', async t => {
  const teams = { vision: { budget: { daily: 0.5, monthly: 2 } }, other: {} }
  const gateway = await startTestGateway({ teams })
  t.teardown(gateway.stop)
  await gateway.segment({ prompt: 'dog' })
  await gateway.segment({ prompt: 'cat' })
  await gateway.segment({ prompt: 'dog' })
  await gateway.segment({ prompt: 'dog' }, { team: 'other' })
  gateway.upstream.script({ how: 'reset' })
  await gateway.segment({ prompt: 'cow' })

  const statement: Statement = await (await gateway.fetch('/usage')).json()
  const figures = {
    requests: 3,
    paidCalls: 2,
    hits: 1,
    coalesced: 0,
    unknownCalls: 1,
    pendingCalls: 0,
    chargedCredits: 0.0034,
    pendingCredits: 0,
    savedByCacheCredits: 0.0017,
    savedByCoalescingCredits: 0,
  }
  t.match(statement, { team: 'vision', budget: { daily: 0.5, monthly: 2 }, totals: figures, days: [figures] })
  const { unknownCredits } = statement.totals
  t.ok(unknownCredits > 0, 'a call without a response is booked with its estimate')
  t.equal(statement.remainingCredits, Number((0.5 - 0.0034 - unknownCredits).toFixed(9)))
  t.equal(statement.days.length, 1)
  t.equal(statement.days[0].day.slice(0, 7), statement.month)

  const theirs = await (await gateway.fetch('/usage', { headers: { 'x-api-key': gateway.keys.other ?? '' } })).json()
  t.match(theirs, {
    team: 'other',
    budget: undefined,
    totals: { requests: 1, paidCalls: 0, hits: 1, chargedCredits: 0 },
  })
})

t.test('a month is selected by its name', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const rows: [query: string, wanted: string][] = [
    ['month=2026-01', '200 undefined'],
    ['month=2026-13', '400 invalid_parameter'],
    ['month=2026-1', '400 invalid_parameter'],
    ['month=', '400 invalid_parameter'],
    ['month=2026-01&month=2026-02', '400 invalid_parameter'],
    ['Month=2026-01', '400 invalid_request'],
    ['__proto__=1', '400 invalid_request'],
  ]
  for (const [query, wanted] of rows) {
    const { status, json } = await ask(`${gateway.url}/usage?${query}`, { headers: { 'x-api-key': gateway.key } })
    t.equal(`${status} ${json().code}`, wanted, query)
  }
})
