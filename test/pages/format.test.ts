import t from 'tap'
import {
  ago,
  alignedCredits,
  bytes,
  credits,
  dateTime,
  duration,
  exactCredits,
  milliseconds,
  monthsBack,
  percent,
  signedCredits,
  timeOfDay,
  until,
} from '../../src/pages/format.js'

t.test('credits have at most four decimals, and tiny amounts are not rounded to 0', async t => {
  const rows: [amount: number | undefined, text: string][] = [
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
  for (const [amount, text] of rows) t.equal(credits(amount), text)
  t.equal(alignedCredits(5), '5.0000')
  t.equal(alignedCredits(0.000004), '4.0×10⁻⁶')
  t.equal(alignedCredits(undefined), 'unknown')
  t.strictSame([0, 0.5, -0.5, undefined].map(signedCredits), ['0.00', '+0.50', '−0.50', 'unknown'])
})

t.test('exact credits have no more digits than they need and no exponent', async t => {
  const rows: [amount: number, text: string][] = [
    [0, '0'],
    [10, '10'],
    [0.0017, '0.0017'],
    [0.000000001, '0.000000001'],
    [9.998419907, '9.998419907'],
  ]
  for (const [amount, text] of rows) t.equal(exactCredits(amount), text)
})

t.test('durations are shown in their two largest units', async t => {
  const rows: [seconds: number, text: string][] = [
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
  for (const [seconds, text] of rows) t.equal(duration(seconds), text)
  t.equal(ago(900), 'just now')
  t.equal(ago(-5_000), 'just now', 'with a clock that runs ahead')
  t.equal(ago(61_000), '1 min ago')
  t.equal(until(7_200_000), 'in 2 h')
  t.equal(until(-7_200_000), '2 h ago')
})

t.test('percentages are rounded down, but never to 0', async t => {
  t.strictSame([0, 0.0004, 0.0123, 0.29, 0.999, 1].map(percent), ['0%', '<0.1%', '1.2%', '29%', '99%', '100%'])
})

t.test('milliseconds and bytes get a suitable unit', async t => {
  const times = ['0.4 ms', '3.2 ms', '12 ms', '840 ms', '1.23 s', '43.2 s']
  t.strictSame([0.44, 3.21, 12, 840, 1_234, 43_210].map(milliseconds), times)
  t.strictSame([0, 1_023, 1_536, 5_000_000].map(bytes), ['0 bytes', '1,023 bytes', '1.5 KiB', '4.8 MiB'])
})

t.test('times are shown in a time zone', async t => {
  const at = '2026-11-27T22:40:12.000Z'
  t.equal(dateTime(at, 'Europe/Berlin'), '27 Nov 23:40')
  t.equal(timeOfDay(at, 'UTC'), '22:40:12')
  t.equal(dateTime('nonsense'), 'unknown')
})

t.test('months are counted back across years', async t => {
  t.strictSame(monthsBack('2026-02', 4), ['2026-02', '2026-01', '2025-12', '2025-11'])
})
