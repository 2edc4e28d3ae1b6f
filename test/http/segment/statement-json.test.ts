import t from 'tap'
import type { Statement } from '../../../src/contracts/statements.js'
import { bookedSince, statementOf } from '../../../src/credits/statement.js'
import { toOperatorStatement, toTeamStatement } from '../../../src/http/segment/statement-json.js'
import { ACCOUNT, usageDay } from '../../support/doubles/usage.js'
import { readContract } from '../../support/gateway/contract.js'

const usage = [
  usageDay('2026-11-01', 'a', { requests: 1, paidCalls: 1, charged: 3_400_000, shared: -850_000 }),
  usageDay('2026-11-02', 'b', {
    requests: 2,
    hits: 1,
    coalesced: 1,
    savedByCache: 5,
    savedByCoalescing: 6,
    shared: 850_000,
  }),
]
const closed = { at: Date.parse('2026-12-02T10:00:00Z'), by: 'operator' as const }

t.test('the statement of a closed month with an account matches the API document', async t => {
  const contract = await readContract()
  const frozen = statementOf('2026-11', { usage, policy: 'split', account: ACCOUNT })
  const late = [...usage, usageDay('2026-11-30', 'a', { charged: 1 })]
  const statement: Statement = { ...frozen, closed, sinceClosed: bookedSince(frozen, late) }
  const json = toOperatorStatement(statement, [{ month: '2026-11', what: 'closed', closedAt: closed.at, ...closed }])
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store', 'x-request-id': 'r' }
  const answer = { status: 200, headers, body: Buffer.from(JSON.stringify(json)), json: () => json as never }
  t.strictSame(contract.violationsOf({ ...answer, method: 'GET', path: '/admin/usage' }), [])
  t.match(json, {
    closed: { at: '2026-12-02T10:00:00.000Z', by: 'operator' },
    sinceClosed: [{ team: 'a', credits: 1e-9 }],
    totals: { billedCredits: 0.0034, sharedCredits: 0, savedByCacheCredits: 5e-9, savedByCoalescingCredits: 6e-9 },
    teams: [
      { team: 'a', totals: { billedCredits: 0.00255 }, days: [{ day: '2026-11-01', sharedCredits: -0.00085 }] },
      { team: 'b', totals: { billedCredits: 0.00085 } },
    ],
    account: {
      opening: { credits: 10, at: '2026-11-01T00:00:05.000Z' },
      closing: { credits: 4.99 },
      topUpCredits: 0.0034,
      declinedCredits: 5.0134,
      bookedCredits: 0.0034,
      driftCredits: 5.01,
      notReconciledYetCredits: 0,
      events: [{ id: 'e1', kind: 'foreign', credits: 5.01 }],
    },
  })
})

t.test('the statement of a team shows when its month was closed, not by whom, and its own later bookings', async t => {
  const own = statementOf('2026-11', { usage: usage.slice(0, 1), policy: 'split' })
  const late = [usageDay('2026-11-01', 'a', { charged: 3_400_001, shared: -850_000 })]
  t.match(toTeamStatement(own), { policy: 'split', closed: undefined, sinceClosed: undefined })
  const json = toTeamStatement({ ...own, closed, sinceClosed: bookedSince(own, late) })
  t.strictSame(json.closed, { at: '2026-12-02T10:00:00.000Z' })
  t.strictSame(json.sinceClosed, { credits: 1e-9 })
  t.strictSame(toTeamStatement({ ...own, closed, sinceClosed: [] }).sinceClosed, { credits: 0 })
})
