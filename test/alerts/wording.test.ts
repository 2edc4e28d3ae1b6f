import t from 'tap'
import { amount, duration, localTime, percent } from '../../src/alerts/wording.js'

t.test('durations use the largest unit that gives at least two', async t => {
  const texts = [30, 119 * 60, 2 * 3600, 47.9 * 3600, 48 * 3600, 6.99 * 86_400].map(duration)
  t.strictSame(texts, ['0 minutes', '119 minutes', '2 hours', '47 hours', '2 days', '6 days'])
})

t.test('an instant is formatted with its weekday in the time zone of the budgets, across clock changes', async t => {
  const texts = (iso: string, zone: string) => localTime(Date.parse(iso), zone)
  t.equal(texts('2026-11-27T22:40:00Z', 'Europe/Berlin'), 'Friday 27 November 23:40 Europe/Berlin')
  t.equal(texts('2026-11-27T23:40:00Z', 'Europe/Berlin'), 'Saturday 28 November 00:40 Europe/Berlin')
  t.equal(texts('2026-10-25T00:30:00Z', 'Europe/Berlin'), 'Sunday 25 October 02:30 Europe/Berlin')
  t.equal(texts('2026-10-25T01:30:00Z', 'Europe/Berlin'), 'Sunday 25 October 02:30 Europe/Berlin')
  t.equal(texts('2026-11-27T00:00:00Z', 'UTC'), 'Friday 27 November 00:00 UTC')
})

t.test('amounts are short, but never rounded to 0', async t => {
  const texts = [4_018_492_103, 5_000_000_000, 1_700_000, 49_999, 0, -120_000_000].map(amount)
  t.strictSame(texts, ['4.0185', '5', '0.0017', '0.000049999', '0', '-0.12'])
})

t.test('a share is formatted in whole per cent, rounded down', async t => {
  t.strictSame([0.8, 0.29, 0.9999, 1, 1.017].map(percent), ['80 %', '29 %', '99 %', '100 %', '101 %'])
})
