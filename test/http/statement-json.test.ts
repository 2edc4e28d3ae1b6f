import t from 'tap'
import { bookedSince, statementOf } from '../../src/credits/statement.js'
import { type Statement, toOperatorStatement, toTeamStatement } from '../../src/http/statement-json.js'
import { readContract } from '../support/contract.js'
import { ACCOUNT, usageDay } from '../support/usage.js'

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

t.test('a closed month with an account is told as the document says', async t => {
  const contract = await readContract()
  const frozen = statementOf('2026-11', { usage, policy: 'split', account: ACCOUNT })
  const late = [...usage, usageDay('2026-11-30', 'a', { charged: 1 })]
  const statement: Statement = { ...frozen, closed, sinceClosed: bookedSince(frozen, late) }
  const told = toOperatorStatement(statement, [{ what: 'closed', ...closed }])
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store', 'x-request-id': 'r' }
  const answer = { status: 200, headers, body: Buffer.from(JSON.stringify(told)), json: () => told as never }
  t.strictSame(contract.complaintsAbout({ ...answer, method: 'GET', path: '/admin/usage' }), [])
  t.match(told, {
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

t.test('a team is told that its month is closed, not by whom, and what of its own was booked since', async t => {
  const own = statementOf('2026-11', { usage: usage.slice(0, 1), policy: 'split' })
  const late = [usageDay('2026-11-01', 'a', { charged: 3_400_001, shared: -850_000 })]
  t.match(toTeamStatement(own), { policy: 'split', closed: undefined, sinceClosed: undefined })
  const told = toTeamStatement({ ...own, closed, sinceClosed: bookedSince(own, late) })
  t.strictSame(told.closed, { at: '2026-12-02T10:00:00.000Z' })
  t.strictSame(told.sinceClosed, { credits: 1e-9 })
  t.strictSame(toTeamStatement({ ...own, closed, sinceClosed: [] }).sinceClosed, { credits: 0 })
})
