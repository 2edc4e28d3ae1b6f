import t from 'tap'
import { asJson, asTable } from '../../src/cli/usage-table.js'
import { bookedSince, statementOf } from '../../src/credits/statement.js'
import { ACCOUNT, usageDay } from '../support/doubles/usage.js'

const usage = [
  usageDay('2026-11-02', 'vision', {
    requests: 3,
    hits: 1,
    paidCalls: 2,
    charged: 3_400_000,
    savedByCache: 1_700_000,
    shared: -2,
  }),
  usageDay('2026-11-01', 'vision', {
    requests: 1200,
    hits: 1199,
    paidCalls: 1,
    charged: 1,
    savedByCache: 2e9,
    savedByCoalescing: 1,
  }),
  usageDay('2026-11-01', 'maps', {
    requests: 2,
    coalesced: 1,
    unknownCalls: 1,
    unknown: 2_000_000,
    reservedCalls: 1,
    reserved: 2_000_000,
    shared: 2,
  }),
]
const statement = statementOf('2026-11', { usage, policy: 'split' })

t.test('days are sorted by date and team, followed by teams, total and charging policy', async t => {
  const lines = asTable(statement).map(line => line.trim().split(/ {2,}/))
  t.strictSame(lines, [
    [
      'day',
      'team',
      'requests',
      'hits',
      'coalesced',
      'paid calls',
      'charged credits',
      'unknown calls',
      'unknown credits',
      'pending calls',
      'pending credits',
      'saved by cache credits',
      'saved by coalescing credits',
      'shared credits',
      'billed credits',
    ],
    ['2026-11-01', 'maps', '2', '0', '1', '0', '0', '1', '0.002', '1', '0.002', '0', '0', '0.000000002', '0.002000002'],
    [
      '2026-11-01',
      'vision',
      '1200',
      '1199',
      '0',
      '1',
      '0.000000001',
      '0',
      '0',
      '0',
      '0',
      '2',
      '0.000000001',
      '0',
      '0.000000001',
    ],
    [
      '2026-11-02',
      'vision',
      '3',
      '1',
      '0',
      '2',
      '0.0034',
      '0',
      '0',
      '0',
      '0',
      '0.0017',
      '0',
      '-0.000000002',
      '0.003399998',
    ],
    ['2026-11', 'maps', '2', '0', '1', '0', '0', '1', '0.002', '1', '0.002', '0', '0', '0.000000002', '0.002000002'],
    [
      '2026-11',
      'vision',
      '1203',
      '1200',
      '0',
      '3',
      '0.003400001',
      '0',
      '0',
      '0',
      '0',
      '2.0017',
      '0.000000001',
      '-0.000000002',
      '0.003399999',
    ],
    [
      '2026-11',
      'total',
      '1205',
      '1200',
      '1',
      '3',
      '0.003400001',
      '1',
      '0.002',
      '1',
      '0.002',
      '2.0017',
      '0.000000001',
      '0',
      '0.005400001',
    ],
    [''],
    ['billed = charged + unknown + shared: all teams that use a result pay equal parts (split)'],
  ])
  t.match(
    asTable(statementOf('2026-11', { usage, policy: 'first-payer' })).at(-1),
    /^billed = charged \+ unknown: .*\(first-payer\)$/,
  )
})

t.test('figures are right-aligned under their headings', async t => {
  const days = [usageDay('2026-11-01', 'a', { requests: 5 }), usageDay('2026-11-02', 'a', { requests: 12345 })]
  const lines = asTable(statementOf('2026-11', { usage: days, policy: 'split' }))
  const ends = ['requests', ' 5', '12345', '12350'].map((text, line) => (lines[line]?.indexOf(text) ?? 0) + text.length)
  t.equal(new Set(ends).size, 1, `${ends}`)
})

t.test('a single team has no line besides the total', async t => {
  const own = asTable(statementOf('2026-11', { usage: [usageDay('2026-11-01', 'a')], policy: 'split' }))
  t.equal(own.indexOf(''), 3)
})

t.test('a month without usage says so and includes the account', async t => {
  const none = asTable(statementOf('2026-11', { usage: [], policy: 'split', account: ACCOUNT }))
  t.equal(none[0], 'Nothing was used in 2026-11.')
  t.ok(none.some(line => /^drift +5\.01 /.test(line)))
})

t.test('the account lines add up', async t => {
  const lines = asTable(statementOf('2026-11', { usage, policy: 'split', account: ACCOUNT }))
  t.strictSame(
    lines.slice(lines.lastIndexOf('') + 2).map(line => line.split(/ {2,}/)),
    [
      ['account', '10', 'on 2026-11-01T00:00:05.000Z'],
      ['+ top-ups', '0.0034'],
      ['− account', '4.99', 'on 2026-11-30T23:59:00.000Z'],
      ['= declined', '5.0134'],
      ['booked', '0.0034', 'charged + unknown in that time'],
      ['drift', '5.01', 'declined − booked'],
      ['not reconciled yet', '0.002000001', 'charged + unknown of this month − booked'],
      ['foreign', '5.01', 'on 2026-11-20T10:00:00.000Z'],
    ],
  )
})

const closed = { at: Date.parse('2026-12-02T10:00:00Z'), by: 'cli' as const }

t.test('a closed month shows when it was closed and later bookings', async t => {
  const late = [...usage, usageDay('2026-11-30', 'maps', { unknownCalls: -1, unknown: -2_000_000 })]
  const lines = (days: typeof usage) => asTable({ ...statement, closed, sinceClosed: bookedSince(statement, days) })
  t.equal(lines(usage).at(-1), 'closed 2026-12-02T10:00:00.000Z by cli; since then nothing was booked to it')
  t.equal(lines(late).at(-1), 'closed 2026-12-02T10:00:00.000Z by cli; since then maps -0.002')
})

t.test('JSON has counts as numbers and amounts as exact decimal strings', async t => {
  const json = JSON.parse(asJson(statement, []))
  t.match(json, { month: '2026-11', policy: 'split', closings: [] })
  t.equal(json.days.length, 3)
  t.strictSame(
    json.teams.map((row: { team: string }) => row.team),
    ['maps', 'vision'],
  )
  t.strictSame(json.total, {
    day: '2026-11',
    team: 'total',
    requests: 1205,
    hits: 1200,
    coalesced: 1,
    paid_calls: 3,
    charged_credits: '0.003400001',
    unknown_calls: 1,
    unknown_credits: '0.002',
    pending_calls: 1,
    pending_credits: '0.002',
    saved_by_cache_credits: '2.0017',
    saved_by_coalescing_credits: '0.000000001',
    shared_credits: '0',
    billed_credits: '0.005400001',
  })
  for (const absent of ['account', 'closed', 'since_closed']) t.notOk(absent in json, absent)
})

t.test('JSON of a closed month has the account, the time of closing and later bookings', async t => {
  const whole = statementOf('2026-11', { usage, policy: 'split', account: ACCOUNT })
  const sinceClosed = bookedSince(whole, usage.slice(0, 2))
  const closings = [{ month: '2026-11', what: 'closed' as const, ...closed, closedAt: closed.at }]
  const json = JSON.parse(asJson({ ...whole, closed, sinceClosed }, closings))
  const at = '2026-12-02T10:00:00.000Z'
  t.strictSame(json.closed, { at, by: 'cli' })
  t.strictSame(json.since_closed, [{ team: 'maps', credits: '-0.002000002' }])
  t.strictSame(json.closings, [{ what: 'closed', at, by: 'cli' }])
  t.strictSame(json.account, {
    opening: { credits: '10', at: '2026-11-01T00:00:05.000Z' },
    closing: { credits: '4.99', at: '2026-11-30T23:59:00.000Z' },
    top_up_credits: '0.0034',
    declined_credits: '5.0134',
    booked_credits: '0.0034',
    drift_credits: '5.01',
    not_reconciled_yet_credits: '0.002000001',
    events: [{ id: 'e1', at: '2026-11-20T10:00:00.000Z', kind: 'foreign', credits: '5.01' }],
  })
})
