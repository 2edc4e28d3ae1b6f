import t from 'tap'
import {
  age,
  ahead,
  bytes,
  clock,
  credits,
  dayOf,
  duration,
  milliseconds,
  moment,
  monthsBack,
  percent,
  signedCredits,
  steadyCredits,
} from '../../src/pages/dashboard/format.js'

t.test('amounts have at most four decimals, unless that would make nothing of them', async t => {
  const rows: [number | undefined, string][] = [
    [undefined, 'unknown'],
    [0, '0.00'],
    [9.996628794, '9.9966'],
    [5, '5.00'],
    [0.0017, '0.0017'],
    [0.000004, '4.0×10⁻⁶'],
    [0.00000000012, '1.2×10⁻¹⁰'],
    [-0.000004, '−4.0×10⁻⁶'],
    [12345.678, '12,345.68'],
  ]
  for (const [amount, said] of rows) t.equal(credits(amount), said)
  t.equal(steadyCredits(5), '5.0000')
  t.equal(steadyCredits(0.000004), '4.0×10⁻⁶')
  t.equal(steadyCredits(undefined), 'unknown')
  t.strictSame([0, 0.5, -0.5, undefined].map(signedCredits), ['0.00', '+0.50', '−0.50', 'unknown'])
})

t.test('durations are told in their two largest units', async t => {
  const rows: [number, string][] = [
    [0.4, '0 s'],
    [59.9, '59 s'],
    [60, '1 min'],
    [3_599, '59 min'],
    [3_600, '1 h'],
    [7_500, '2 h 5 min'],
    [86_400, '1 d'],
    [97_200, '1 d 3 h'],
    [86_400 * 150, '150 days'],
    [86_400 * 3_650, '10 years'],
  ]
  for (const [seconds, said] of rows) t.equal(duration(seconds), said)
  t.equal(age(900), 'just now')
  t.equal(age(-5_000), 'just now', 'a clock that goes ahead')
  t.equal(age(61_000), '1 min ago')
  t.equal(ahead(7_200_000), 'in 2 h')
  t.equal(ahead(-7_200_000), '2 h ago')
})

t.test('shares are rounded down, and a little is not nothing', async t => {
  t.strictSame([0, 0.0004, 0.0123, 0.29, 0.999, 1].map(percent), ['0 %', '<0.1 %', '1.2 %', '29 %', '99 %', '100 %'])
})

t.test('milliseconds and bytes have the unit that suits them', async t => {
  t.strictSame([undefined, 3.21, 12, 840, 1_234, 43_210].map(milliseconds), [
    'unknown',
    '3.2 ms',
    '12 ms',
    '840 ms',
    '1.23 s',
    '43.2 s',
  ])
  t.strictSame([0, 1_023, 1_536, 5_000_000].map(bytes), ['0 bytes', '1,023 bytes', '1.5 KiB', '4.8 MiB'])
})

t.test('moments are told in a time zone', async t => {
  const at = '2026-11-27T22:40:12.000Z'
  t.equal(moment(at, 'Europe/Berlin'), '27 Nov 23:40')
  t.equal(clock(at, 'UTC'), '22:40:12')
  t.equal(dayOf(at, 'Asia/Tokyo'), '28 Nov 2026')
  t.equal(moment('nonsense'), 'unknown')
})

t.test('months are counted back over the turn of the year', async t => {
  t.strictSame(monthsBack('2026-02', 4), ['2026-02', '2026-01', '2025-12', '2025-11'])
})
