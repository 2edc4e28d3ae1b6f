import t from 'tap'
import { asCsv, asJson, asTable, statementOf } from '../../src/cli/usage-table.js'
import type { UsageDay } from '../../src/storage.js'

const NONE = {
  requests: 0,
  hits: 0,
  coalesced: 0,
  savedByCache: 0,
  savedByCoalescing: 0,
  paidCalls: 0,
  charged: 0,
  unknownCalls: 0,
  unknown: 0,
  reservedCalls: 0,
  reserved: 0,
  shared: 0,
}

const day = (day: string, team: string, figures: Partial<UsageDay>): UsageDay => ({ day, team, ...NONE, ...figures })

const statement = statementOf('2026-11', [
  day('2026-11-02', 'vision', { requests: 3, hits: 1, paidCalls: 2, charged: 3_400_000, savedByCache: 1_700_000 }),
  day('2026-11-01', 'vision', {
    requests: 1200,
    hits: 1199,
    paidCalls: 1,
    charged: 1,
    savedByCache: 2e9,
    savedByCoalescing: 1,
  }),
  day('2026-11-01', 'maps', {
    requests: 2,
    coalesced: 1,
    unknownCalls: 1,
    unknown: 2_000_000,
    reservedCalls: 1,
    reserved: 2_000_000,
  }),
])

t.test('days come by date, then team; then each team and everything added up', async t => {
  t.strictSame(
    asTable(statement).map(line => line.trim().split(/ {2,}/)),
    [
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
        'reserved credits',
        'saved credits',
      ],
      ['2026-11-01', 'maps', '2', '0', '1', '0', '0', '1', '0.002', '0.002', '0'],
      ['2026-11-01', 'vision', '1200', '1199', '0', '1', '0.000000001', '0', '0', '0', '2.000000001'],
      ['2026-11-02', 'vision', '3', '1', '0', '2', '0.0034', '0', '0', '0', '0.0017'],
      ['2026-11', 'maps', '2', '0', '1', '0', '0', '1', '0.002', '0.002', '0'],
      ['2026-11', 'vision', '1203', '1200', '0', '3', '0.003400001', '0', '0', '0', '2.001700001'],
      ['2026-11', 'total', '1205', '1200', '1', '3', '0.003400001', '1', '0.002', '0.002', '2.001700001'],
    ],
  )
})

t.test('figures are aligned to the right under their headings', async t => {
  const lines = asTable(
    statementOf('2026-11', [day('2026-11-01', 'a', { requests: 5 }), day('2026-11-02', 'a', { requests: 12345 })]),
  )
  const ends = ['requests', ' 5', '12345', '12350'].map((text, line) => (lines[line]?.indexOf(text) ?? 0) + text.length)
  t.equal(new Set(ends).size, 1, `${ends}`)
})

t.test('one team needs no line of its own beside the total', async t => {
  t.equal(asTable(statementOf('2026-11', [day('2026-11-01', 'a', {})])).length, 3)
})

t.test('a month without use says so', async t => {
  t.strictSame(asTable(statementOf('2026-11', [])), ['Nothing was used in 2026-11.'])
  t.equal(asCsv(statementOf('2026-11', [])).length, 1)
})

t.test('CSV has one line a team and day and no totals, so that sums come out right', async t => {
  t.strictSame(asCsv(statement), [
    'day,team,requests,hits,coalesced,paid_calls,charged_credits,unknown_calls,unknown_credits,reserved_credits,saved_credits',
    '2026-11-01,maps,2,0,1,0,0,1,0.002,0.002,0',
    '2026-11-01,vision,1200,1199,0,1,0.000000001,0,0,0,2.000000001',
    '2026-11-02,vision,3,1,0,2,0.0034,0,0,0,0.0017',
  ])
})

t.test('JSON has counts as numbers and amounts as exact decimal texts', async t => {
  const told = JSON.parse(asJson(statement))
  t.equal(told.month, '2026-11')
  t.equal(told.days.length, 3)
  t.strictSame(
    told.teams.map((row: { team: string }) => row.team),
    ['maps', 'vision'],
  )
  t.strictSame(told.total, {
    day: '2026-11',
    team: 'total',
    requests: 1205,
    hits: 1200,
    coalesced: 1,
    paid_calls: 3,
    charged_credits: '0.003400001',
    unknown_calls: 1,
    unknown_credits: '0.002',
    reserved_credits: '0.002',
    saved_credits: '2.001700001',
  })
})
