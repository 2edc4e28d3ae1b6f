import t from 'tap'
import { bookedSince, statementOf } from '../../src/credits/statement.js'
import { asCsv } from '../../src/credits/statement-rows.js'
import { usageDay } from '../support/doubles/usage.js'

const HEADING =
  'day,team,requests,hits,coalesced,paid_calls,charged_credits,unknown_calls,unknown_credits,pending_calls,pending_credits,' +
  'saved_by_cache_credits,saved_by_coalescing_credits,shared_credits,billed_credits'

const usage = [
  usageDay('2026-11-02', 'vision', {
    requests: 3,
    hits: 1,
    paidCalls: 2,
    charged: 3_400_000,
    savedByCache: 1_700_000,
    shared: -850_000,
  }),
  usageDay('2026-11-01', 'vision', { requests: 1200, hits: 1199, paidCalls: 1, charged: 1, savedByCache: 2e9 }),
  usageDay('2026-11-02', 'maps', {
    requests: 2,
    coalesced: 1,
    savedByCoalescing: 1,
    unknownCalls: 1,
    unknown: 2_000_000,
    shared: 850_000,
  }),
]

t.test('CSV has one line per day and team, ordered by day, then team, and no totals', async t => {
  t.strictSame(
    [...asCsv(statementOf('2026-11', { usage, policy: 'split' }))],
    [
      HEADING,
      '2026-11-01,vision,1200,1199,0,1,0.000000001,0,0,0,0,2,0,0,0.000000001',
      '2026-11-02,maps,2,0,1,0,0,1,0.002,0,0,0,0.000000001,0.00085,0.00285',
      '2026-11-02,vision,3,1,0,2,0.0034,0,0,0,0,0.0017,0,-0.00085,0.00255',
    ],
  )
})

t.test('bookings after the closing of a month have their own lines', async t => {
  const frozen = statementOf('2026-11', { usage, policy: 'first-payer' })
  const late = [...usage, usageDay('2026-11-02', 'maps', { unknownCalls: -1, unknown: -2_000_000 })]
  const lines = [...asCsv({ ...frozen, closed: { at: 1, by: 'cli' }, sinceClosed: bookedSince(frozen, late) })]
  t.equal(lines.length, 5)
  t.equal(lines.at(-1), 'since closed,maps,0,0,0,0,0,-1,-0.002,0,0,0,0,0,-0.002')
})
