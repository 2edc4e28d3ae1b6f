import fc from 'fast-check'
import t from 'tap'
import {
  BUCKETS_MS,
  bucketOf,
  type CountedMinute,
  emptyMinute,
  mergeMinutes,
  quantile,
} from '../../src/operations/minute.js'

t.test('a quantile is in the bucket of its rank', t => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 90_000, noNaN: true }), { minLength: 1 }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (times, share) => {
        const counts = emptyMinute().durations
        for (const time of times) counts[bucketOf(time)] = (counts[bucketOf(time)] ?? 0) + 1
        const sorted = [...times].sort((one, other) => one - other)
        const exact = sorted[Math.max(0, Math.ceil(share * times.length) - 1)] ?? 0
        const bucket = bucketOf(exact)
        const found = quantile(counts, share) ?? Number.NaN
        return found >= (BUCKETS_MS[bucket - 1] ?? 0) && found <= (BUCKETS_MS[bucket] ?? BUCKETS_MS.at(-1) ?? 0)
      },
    ),
  )
  t.equal(quantile(emptyMinute().durations, 0.5), undefined, 'no durations, no quantile')
  t.end()
})

t.test('the minutes of two processes add up, and the later one decides the balance', t => {
  const one: CountedMinute = {
    ...emptyMinute(),
    requests: 2,
    spent: 5,
    answers: { hit: 1 },
    teams: { a: 5 },
    queue: 1,
    balance: 9,
  }
  const other: CountedMinute = {
    ...emptyMinute(),
    requests: 3,
    spent: 7,
    answers: { hit: 1, miss: 2 },
    teams: { b: 7 },
    balance: 4,
  }
  const sum = { requests: 5, spent: 12, answers: { hit: 2, miss: 2 }, teams: { a: 5, b: 7 }, queue: 1 }
  t.match(mergeMinutes(one, other), { ...sum, balance: 4 })
  t.match(mergeMinutes(other, one), { ...sum, balance: 9 })
  t.match(mergeMinutes(one, emptyMinute()), { balance: 9 })
  t.equal('balance' in mergeMinutes(emptyMinute(), emptyMinute()), false, 'an unknown balance stays absent')
  t.end()
})
