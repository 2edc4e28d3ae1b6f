import t from 'tap'
import { dateOf, endOfDate, expiryOf } from '../../src/teams/key-dates.js'

t.test('a date ends with its day in UTC, a time at that instant', async t => {
  const ends: [string, string][] = [
    ['2027-11-01', '2027-11-02T00:00:00.000Z'],
    ['2028-02-29', '2028-03-01T00:00:00.000Z'],
    ['2027-11-01T12:30Z', '2027-11-01T12:30:00.000Z'],
    ['2027-11-01T12:30:15+02:00', '2027-11-01T10:30:15.000Z'],
    ['2027-11-01T12:30:15.250Z', '2027-11-01T12:30:15.250Z'],
  ]
  for (const [written, end] of ends) t.equal(endOfDate(written), Date.parse(end), written)
})

t.test('an invalid date is rejected', async t => {
  const others = [
    '',
    'never',
    '2027',
    '2027-11',
    '2027-02-29',
    '2027-02-30',
    '2027-13-01',
    '2027-11-31',
    '01.11.2027',
    '2027-11-01T25:00Z',
  ]
  for (const written of [...others, '2027-11-01T12:00', '2027-02-30T12:00Z', '2027-11-01 12:00:00Z', '20271101']) {
    t.equal(endOfDate(written), undefined, written)
  }
})

t.test('an expiry is a number of days or a date that has not passed', async t => {
  const now = Date.parse('2026-11-22T15:00:00Z')
  t.equal(dateOf(now), '2026-11-22')
  t.equal(expiryOf('90d', now), '2027-02-20')
  t.equal(expiryOf('0d', now), '2026-11-22')
  t.equal(expiryOf('2026-11-22', now), '2026-11-22')
  t.equal(expiryOf('2026-11-22T16:00:00Z', now), '2026-11-22T16:00:00Z')
  for (const text of ['2026-11-21', '2026-11-22T15:00:00Z', '-1d', '90', 'd', '90 days', '', '1e3d']) {
    t.equal(expiryOf(text, now), undefined, text)
  }
})
