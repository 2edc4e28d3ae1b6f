import t from 'tap'
import { perHour, sum, TIME_RANGES, toBuckets } from '../../../src/pages/dashboard/charts/buckets.js'
import {
  chartData,
  extendToEnd,
  isolatedIndexes,
  knownIndexes,
  stack,
  yMax,
} from '../../../src/pages/dashboard/charts/chart-data.js'
import { chartSpecs } from '../../../src/pages/dashboard/charts/chart-specs.js'
import {
  appendSample,
  hoursToFetch,
  type Minute,
  mergeMinutes,
  parseMinutes,
} from '../../../src/pages/dashboard/charts/history.js'
import { actionText, actorText, detailsText, labelOf, valueText } from '../../../src/pages/dashboard/wording.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const NOW = Date.parse('2026-11-27T12:00:30Z')

function minute(minutesAgo: number, fields: Partial<Minute> = {}): Minute {
  const at = Math.floor(NOW / MINUTE) * MINUTE - minutesAgo * MINUTE
  return { at, requests: 10, errors: 0, answers: {}, spent: 0, saved: 0, queue: 0, inFlight: 0, ...fields }
}

t.test('the newest version of a minute counts, and old minutes are dropped', async t => {
  const known = [minute(48 * 60 + 5), minute(3), minute(2, { errors: 1 })]
  const all = mergeMinutes(known, [minute(2, { errors: 4 }), minute(1)], NOW)
  t.strictSame(
    all.map(({ at, errors }) => [at, errors]),
    [minute(3), minute(2, { errors: 4 }), minute(1)].map(({ at, errors }) => [at, errors]),
  )
})

t.test('only the missing hours are fetched', async t => {
  t.equal(hoursToFetch(48, undefined, NOW), 48)
  t.equal(hoursToFetch(48, { hours: 6, at: NOW - MINUTE }, NOW), 48, 'a longer range')
  t.equal(hoursToFetch(48, { hours: 48, at: NOW - MINUTE }, NOW), 2)
  t.equal(hoursToFetch(48, { hours: 48, at: NOW - 5 * HOUR }, NOW), 6, 'after a night in standby')
  t.equal(hoursToFetch(1, { hours: 48, at: NOW - MINUTE }, NOW), 1)
})

t.test('a missing value of a minute stays missing', async t => {
  const [read] = parseMinutes([
    {
      at: '2026-11-27T11:00:00Z',
      requests: 1,
      errors: 0,
      answers: {},
      spentCredits: 2,
      savedCredits: 0,
      queue: 0,
      inFlight: 0,
    },
  ])
  t.notOk(read && 'balance' in read)
  t.match(read, { at: Date.parse('2026-11-27T11:00:00Z'), spent: 2 })
})

t.test('the latest sample of each minute is kept until the history contains that minute', async t => {
  const sample = (secondsAgo: number, balance: number) => ({
    at: NOW - secondsAgo * 1_000,
    balance,
    queue: 0,
    inFlight: 0,
  })
  const kept = [sample(60, 5), sample(25, 4), sample(2, 3)].reduce<ReturnType<typeof sample>[]>(
    (all, one) => appendSample(all, one, [minute(3)]) as ReturnType<typeof sample>[],
    [],
  )
  t.strictSame(
    kept.map(({ balance }) => balance),
    [5, 3],
  )
  t.strictSame(
    appendSample(kept, sample(1, 2), [minute(1)]).map(({ balance }) => balance),
    [2],
  )
})

t.test('missing data is a gap, never 0', async t => {
  const range = { hours: 1, stepMinutes: 5 }
  const buckets = toBuckets([minute(20, { spent: 3 }), minute(1, { spent: 0, balance: 7 })], [], range, NOW)
  t.equal(buckets.length, 13)
  const spent = buckets.map(bucket => sum(bucket, ({ spent }) => spent))
  t.strictSame(
    spent.filter(value => value !== null),
    [3, 0],
  )
  for (const spec of chartSpecs(0)) {
    const { columns, summary } = chartData(spec, toBuckets([], [], range, NOW), NOW)
    t.ok(
      columns.flat().every(value => value === null),
      `${spec.title} without data`,
    )
    t.equal(summary, 'No data for this period.')
  }
})

t.test('an incomplete step is extrapolated from its known minutes', async t => {
  const [bucket] = toBuckets(
    [minute(0, { spent: 2 }), minute(-1, { spent: 4 })],
    [],
    { hours: 1, stepMinutes: 5 },
    NOW,
  ).slice(-1)
  t.equal(bucket && perHour(bucket, ({ spent }) => spent), 180)
})

t.test('every range has its number of steps, up to now', async t => {
  for (const range of TIME_RANGES) {
    const buckets = toBuckets([], [], range, NOW)
    t.equal(buckets.length, (range.hours * 60) / range.stepMinutes + 1)
    t.ok((buckets.at(-1)?.at ?? 0) <= NOW)
    t.ok((buckets[0]?.at ?? 0) <= NOW - (range.hours - 1) * HOUR)
  }
})

t.test('each chart has a summary', async t => {
  const minutes = [
    minute(2, {
      answers: { hit: 6, coalesced: 1, miss: 3 },
      spent: 0.3,
      saved: 0.7,
      errors: 1,
      balance: 9,
      p50Ms: 20,
      p95Ms: 900,
    }),
    minute(1, { answers: { miss: 2 }, spent: 0.2, balance: 8.8, p50Ms: 40, p95Ms: 1_500, queue: 4, inFlight: 2 }),
  ]
  const buckets = toBuckets(
    minutes,
    [{ at: NOW, balance: 8.5, queue: 1, inFlight: 3 }],
    { hours: 1, stepMinutes: 1 },
    NOW,
  )
  const summaries = Object.fromEntries(chartSpecs(1).map(spec => [spec.id, chartData(spec, buckets, NOW).summary]))
  t.strictSame(summaries, {
    balance: 'From 9.00 to 8.50 credits (lowest 8.50, highest 9.00).',
    spending: '0.50 credits spent, 0.70 saved by cache hits and coalescing.',
    outcome: '58% of 12 results were free.',
    latency: 'p50 20 ms in the median minute, p95 1.5 s in the slowest.',
    load: 'At most 4 queued and 3 in flight.',
    errors: '1 of 20 requests failed (5%).',
  })
})

t.test('columns are prepared for drawing', async t => {
  t.strictSame(
    stack([
      [0.5, null],
      [0.25, null],
      [0.25, null],
    ]),
    [
      [0.5, null],
      [0.75, null],
      [1, null],
    ],
  )
  t.strictSame(isolatedIndexes([1, null, 2, 3, null, null, 4]), [0, 6])
  t.strictSame(
    knownIndexes([
      [null, 1, null],
      [null, null, 2],
    ]),
    [2, 1],
  )
  t.equal(yMax([[null, 0]], false), 1)
  t.equal(yMax([[0.4]], true), 1)
  t.strictSame(
    extendToEnd({
      times: [60, 120],
      columns: [
        [1, 2],
        [1, null],
      ],
      summary: '',
      end: 150,
    }),
    {
      times: [60, 120, 150],
      columns: [
        [1, 2, 2],
        [1, null, null],
      ],
    },
  )
})

t.test('audit entries and explanations are shown in words', async t => {
  const entry = { seq: 1, id: 'a', at: '', by: 'operator', action: 'budget.overridden', subject: 'vision' }
  t.equal(actionText(entry), 'set a temporary budget for')
  t.equal(actionText({ ...entry, action: 'moon.landed' }), 'moon.landed')
  t.equal(actorText(entry), 'unnamed operator')
  t.equal(actorText({ ...entry, name: 'Maren' }), 'Maren')
  t.equal(actorText({ ...entry, by: 'cli' }), 'command line')
  const details = { daily: '7.5', until: '2026-11-27T12:00:00.000Z', test: false, isNewTeam: true, team: 'vision' }
  t.equal(detailsText({ ...entry, details }, 'UTC'), 'daily 7.50 credits, until 27 Nov 12:00, new team, team vision')
  t.equal(labelOf('balanceAfterCredits'), 'balance after')
  t.equal(valueText('queueMs', 1_234.5), '1,234.5 ms')
  t.equal(valueText('at', '2026-11-27T12:00:00.000Z', 'UTC'), '27 Nov 12:00')
  t.equal(valueText('isSure', true), 'yes')
})
