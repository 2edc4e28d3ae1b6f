import fc from 'fast-check'
import t from 'tap'
import { bookedSince, narrowTo, statementOf } from '../../src/credits/statement.js'
import { ACCOUNT, usageDay } from '../support/doubles/usage.js'

const usage = [
  usageDay('2026-11-02', 'a', { requests: 2, paidCalls: 1, charged: 1_700_000, shared: -1_133_332 }),
  usageDay('2026-11-01', 'a', { requests: 1, unknownCalls: 1, unknown: 2_000_000 }),
  usageDay('2026-11-02', 'c', { requests: 1, hits: 1, savedByCache: 1_700_000, shared: 566_666 }),
  usageDay('2026-11-02', 'b', { requests: 1, coalesced: 1, savedByCoalescing: 1_700_000, shared: 566_666 }),
]

t.test('a statement lists teams and days in order, with totals per team and overall', async t => {
  const { teams, totals } = statementOf('2026-11', { usage, policy: 'first-payer' })
  t.match(teams, [
    {
      team: 'a',
      totals: { requests: 3, charged: 1_700_000, unknown: 2_000_000 },
      days: [{ day: '2026-11-01' }, { day: '2026-11-02' }],
    },
    { team: 'b', totals: { coalesced: 1, savedByCoalescing: 1_700_000, savedByCache: 0 } },
    { team: 'c', totals: { hits: 1, savedByCache: 1_700_000, savedByCoalescing: 0 } },
  ])
  t.match(totals, { requests: 5, paidCalls: 1, hits: 1, coalesced: 1, unknownCalls: 1, shared: 0 })
})

t.test('billed is charged plus unknown, and under split also the transfers of the day', async t => {
  const billed = (policy: 'first-payer' | 'split') => {
    const { teams, totals } = statementOf('2026-11', { usage, policy })
    return [...teams.map(team => [team.team, team.totals.billed, ...team.days.map(day => day.billed)]), totals.billed]
  }
  t.strictSame(billed('first-payer'), [['a', 3_700_000, 2_000_000, 1_700_000], ['b', 0, 0], ['c', 0, 0], 3_700_000])
  t.strictSame(billed('split'), [
    ['a', 2_566_668, 2_000_000, 566_668],
    ['b', 566_666, 566_666],
    ['c', 566_666, 566_666],
    3_700_000,
  ])
})

t.test('both policies bill the same overall if transfers add up to 0', async t => {
  const amount = fc.integer({ min: 0, max: 1e12 })
  const transfer = fc.record({
    from: fc.constantFrom('a', 'b', 'c'),
    to: fc.constantFrom('a', 'b', 'c'),
    charged: amount,
    unknown: amount,
    shared: amount,
  })
  fc.assert(
    fc.property(fc.array(transfer, { maxLength: 8 }), transfers => {
      const rows = transfers.flatMap(({ from, to, charged, unknown, shared }, index) => [
        usageDay(`2026-11-${10 + index}`, from, { charged, unknown, shared: -shared }),
        usageDay(`2026-11-${20 + index}`, to, { shared }),
      ])
      const first = statementOf('2026-11', { usage: rows, policy: 'first-payer' }).totals
      t.equal(statementOf('2026-11', { usage: rows, policy: 'split' }).totals.billed, first.billed)
      t.equal(first.billed, first.charged + first.unknown)
    }),
  )
})

t.test('the account declines by booked plus drift, and unreconciled amounts are shown', async t => {
  const { account } = statementOf('2026-11', { usage, policy: 'split', account: ACCOUNT })
  t.strictSame(account, { ...ACCOUNT, declined: 5_013_400_000, notReconciledYet: 300_000 })
  t.equal(ACCOUNT.booked + ACCOUNT.drift, account?.declined)
  t.notOk('account' in statementOf('2026-11', { usage, policy: 'split' }), 'an unknown account is absent')
})

t.test('the statement of one team has its own rows and totals, and no account', async t => {
  const whole = statementOf('2026-11', { usage, policy: 'split', account: ACCOUNT })
  const own = narrowTo('b', {
    ...whole,
    closed: { at: 1, by: 'cli' },
    sinceClosed: [{ team: 'a', figures: whole.totals }],
  })
  t.match(own, {
    month: '2026-11',
    closed: { at: 1 },
    teams: [{ team: 'b' }],
    totals: { requests: 1, billed: 566_666 },
    sinceClosed: [],
  })
  t.equal(own.teams.length, 1)
  t.notOk('account' in own)
  t.match(narrowTo('unknown-team', whole), { teams: [], totals: { requests: 0, billed: 0 } })
})

t.test('later bookings are differences per team, by the policy of the frozen statement', async t => {
  const frozen = statementOf('2026-11', { usage, policy: 'split' })
  t.strictSame(bookedSince(frozen, usage), [])
  const later = [
    ...usage.map(day =>
      day.unknown > 0 ? { ...day, unknownCalls: 0, unknown: 0, paidCalls: 1, charged: 1_900_000 } : day,
    ),
    usageDay('2026-11-03', 'a', { shared: -5, requests: 1 }),
    usageDay('2026-11-03', 'd', { shared: 5 }),
    usageDay('2026-11-03', 'e', { requests: 1, hits: 1, savedByCache: 3 }),
  ]
  t.match(bookedSince(frozen, later), [
    { team: 'a', figures: { requests: 1, unknown: -2_000_000, charged: 1_900_000, shared: -5, billed: -100_005 } },
    { team: 'd', figures: { shared: 5, billed: 5 } },
  ])
  t.equal(bookedSince(frozen, later).length, 2, 'a team without later bookings is left out')
  t.match(bookedSince(frozen, []), [{ team: 'a', figures: { billed: -2_566_668 } }, { team: 'b' }, { team: 'c' }])
})
