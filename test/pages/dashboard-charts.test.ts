import t from 'tap'
import { bucketsOf, perHour, RANGES, sum } from '../../src/pages/dashboard/buckets.js'
import { alone, ceiling, chartData, closed, knownPlaces, stacked } from '../../src/pages/dashboard/chart-data.js'
import { chartSpecs } from '../../src/pages/dashboard/chart-specs.js'
import { hoursToAsk, type Minute, merged, readMinutes, withGauges } from '../../src/pages/dashboard/history.js'
import { actionOf, actorOf, detailsOf, told, words } from '../../src/pages/dashboard/wording.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const NOW = Date.parse('2026-11-27T12:00:30Z')

function minute(minutesAgo: number, fields: Partial<Minute> = {}): Minute {
  const at = Math.floor(NOW / MINUTE) * MINUTE - minutesAgo * MINUTE
  return { at, requests: 10, errors: 0, answers: {}, spent: 0, saved: 0, queue: 0, inFlight: 0, ...fields }
}

t.test('a minute that is told again counts as told last, and what is too old goes', async t => {
  const known = [minute(48 * 60 + 5), minute(3), minute(2, { errors: 1 })]
  const all = merged(known, [minute(2, { errors: 4 }), minute(1)], NOW)
  t.strictSame(
    all.map(({ at, errors }) => [at, errors]),
    [minute(3), minute(2, { errors: 4 }), minute(1)].map(({ at, errors }) => [at, errors]),
  )
})

t.test('only the hours are asked for that are not known', async t => {
  t.equal(hoursToAsk(48, undefined, NOW), 48)
  t.equal(hoursToAsk(48, { hours: 6, askedAt: NOW - MINUTE }, NOW), 48, 'more is looked at than before')
  t.equal(hoursToAsk(48, { hours: 48, askedAt: NOW - MINUTE }, NOW), 2)
  t.equal(hoursToAsk(48, { hours: 48, askedAt: NOW - 5 * HOUR }, NOW), 6, 'after a night asleep')
  t.equal(hoursToAsk(1, { hours: 48, askedAt: NOW - MINUTE }, NOW), 1)
})

t.test('what is not told of a minute stays unknown', async t => {
  const [read] = readMinutes([
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

t.test('the latest look of each minute is kept until the history has that minute', async t => {
  const look = (secondsAgo: number, balance: number) => ({
    at: NOW - secondsAgo * 1_000,
    balance,
    queue: 0,
    inFlight: 0,
  })
  const kept = [look(60, 5), look(25, 4), look(2, 3)].reduce<ReturnType<typeof look>[]>(
    (all, one) => withGauges(all, one, [minute(3)]) as ReturnType<typeof look>[],
    [],
  )
  t.strictSame(
    kept.map(({ balance }) => balance),
    [5, 3],
  )
  t.strictSame(
    withGauges(kept, look(1, 2), [minute(1)]).map(({ balance }) => balance),
    [2],
  )
})

t.test('what is not known is a gap, never zero', async t => {
  const range = { hours: 1, stepMinutes: 5 }
  const buckets = bucketsOf([minute(20, { spent: 3 }), minute(1, { spent: 0, balance: 7 })], [], range, NOW)
  t.equal(buckets.length, 13)
  const spent = buckets.map(bucket => sum(bucket, ({ spent }) => spent))
  t.strictSame(
    spent.filter(value => value !== null),
    [3, 0],
  )
  for (const spec of chartSpecs(0)) {
    const { columns, summary } = chartData(spec, bucketsOf([], [], range, NOW), NOW)
    t.ok(
      columns.flat().every(value => value === null),
      `${spec.title} of nothing`,
    )
    t.equal(summary, 'Nothing is known of this time.')
  }
})

t.test('a step of which only some minutes are known is told by these', async t => {
  const [bucket] = bucketsOf(
    [minute(0, { spent: 2 }), minute(-1, { spent: 4 })],
    [],
    { hours: 1, stepMinutes: 5 },
    NOW,
  ).slice(-1)
  t.equal(bucket && perHour(bucket, ({ spent }) => spent), 180)
})

t.test('every span has as many steps as it says, up to now', async t => {
  for (const range of RANGES) {
    const buckets = bucketsOf([], [], range, NOW)
    t.equal(buckets.length, (range.hours * 60) / range.stepMinutes + 1)
    t.ok((buckets.at(-1)?.at ?? 0) <= NOW)
    t.ok((buckets[0]?.at ?? 0) <= NOW - (range.hours - 1) * HOUR)
  }
})

t.test('charts say in a sentence what they show', async t => {
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
  const buckets = bucketsOf(
    minutes,
    [{ at: NOW, balance: 8.5, queue: 1, inFlight: 3 }],
    { hours: 1, stepMinutes: 1 },
    NOW,
  )
  const said = Object.fromEntries(chartSpecs(1).map(spec => [spec.id, chartData(spec, buckets, NOW).summary]))
  t.strictSame(said, {
    balance: 'From 9.00 to 8.50 credits; lowest 8.50, highest 9.00.',
    spending: '0.50 credits spent; 0.70 saved by the cache and by shared purchases.',
    outcome: '58 % of 12 answers cost nothing.',
    latency: 'In the middle minute half came within 20 ms; in the worst one 95 % within 1.5 s.',
    load: 'At most 4 waiting and 3 at Segmind.',
    errors: '1 of 20 requests, 5 %.',
  })
})

t.test('columns are laid out for drawing', async t => {
  t.strictSame(
    stacked([
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
  t.strictSame(alone([1, null, 2, 3, null, null, 4]), [0, 6])
  t.strictSame(
    knownPlaces([
      [null, 1, null],
      [null, null, 2],
    ]),
    [2, 1],
  )
  t.equal(ceiling([[null, 0]], false), 1)
  t.equal(ceiling([[0.4]], true), 1)
  t.strictSame(
    closed({
      times: [60, 120],
      columns: [
        [1, 2],
        [1, null],
      ],
      summary: '',
      until: 150,
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

t.test('what operators did is told in words', async t => {
  const entry = { seq: 1, id: 'a', at: '', by: 'operator', action: 'budget.overridden', subject: 'vision' }
  t.equal(actionOf(entry), 'set a temporary budget for')
  t.equal(actionOf({ ...entry, action: 'moon.landed' }), 'moon.landed')
  t.equal(actorOf(entry), 'an operator')
  t.equal(actorOf({ ...entry, name: 'Maren' }), 'Maren')
  t.equal(actorOf({ ...entry, by: 'cli' }), 'command line')
  const details = { daily: '7.5', until: '2026-11-27T12:00:00.000Z', test: false, isNewTeam: true, team: 'vision' }
  t.equal(detailsOf({ ...entry, details }, 'UTC'), 'daily 7.50 credits, until 27 Nov 12:00, new team, team vision')
  t.equal(words('balanceAfterCredits'), 'balance after')
  t.equal(told('queueMs', 1_234.5), '1,234.5 ms')
  t.equal(told('at', '2026-11-27T12:00:00.000Z', 'UTC'), '27 Nov 12:00')
  t.equal(told('isSure', true), 'yes')
})
