import t from 'tap'
import { type PaidCall, paidCallOf, type WasteReport, WasteSearch, type WasteTerms } from '../../src/credits/waste.js'
import { anEntry } from './ledger-world.js'

const HOUR = 3_600_000
const AT = Date.parse('2026-11-15T12:00:00Z')
const terms = { month: '2026-11', freshMs: 10 * HOUR }

function wasteOf(calls: readonly PaidCall[], terms: WasteTerms): WasteReport {
  const search = new WasteSearch(terms)
  search.add(calls)
  return search.report()
}

function call(hours: number, changes: Partial<PaidCall> = {}): PaidCall {
  const at = AT + hours * HOUR
  const day = new Date(at).toISOString().slice(0, 10)
  return { at, day, team: 'vision', resultId: 'a', cost: 1_700, purchase: 'first', ...changes }
}

/** Counts the calls of each kind; `?` for a kind that cannot be known. */
const found = ({ kinds }: WasteReport) =>
  Object.fromEntries(
    (['evicted', 'expired', 'noCache', 'twice', 'samePixels', 'oversized'] as const).map(kind => [
      kind,
      kinds[kind]?.calls ?? '?',
    ]),
  )

const none = { evicted: 0, expired: 0, noCache: 0, twice: 0, samePixels: '?', oversized: '?' }

const ROWS: [name: string, calls: PaidCall[], expected: Partial<Record<keyof typeof none, number | string>>][] = [
  ['single purchases are not waste', [call(0), call(1, { resultId: 'b' })], {}],
  ['purchased again while fresh', [call(0), call(9.99)], { evicted: 1 }],
  ['purchased again after expiry', [call(0), call(10)], { expired: 1 }],
  ['age is measured from the last purchase', [call(0), call(9), call(18)], { evicted: 2 }],
  ['the order of the calls does not matter', [call(9), call(0)], { evicted: 1 }],
  [
    'no-cache and no-store, with or without an earlier result',
    [call(0, { purchase: 'no-cache' }), call(1, { purchase: 'no-store' })],
    { noCache: 2 },
  ],
  ['a no-store result was never cached', [call(0, { purchase: 'no-store' }), call(1)], { noCache: 1 }],
  ['a no-cache result was cached', [call(0, { purchase: 'no-cache' }), call(1)], { noCache: 1, evicted: 1 }],
  [
    'purchased by two requests at once',
    [
      call(0),
      call(0, { purchase: 'uncoalesced' }),
      call(0.1, { purchase: 'takeover' }),
      call(0.2, { purchase: 'unguarded' }),
    ],
    { twice: 3 },
  ],
  ['a takeover without an earlier purchase is not waste', [call(0, { purchase: 'takeover' })], {}],
  [
    'purchased again after a purchase in the previous month',
    [call(-14 * 24 - 13), call(-14 * 24 - 12)],
    { evicted: 1 },
  ],
  ['waste of the previous month is not reported', [call(-14 * 24 - 15), call(-14 * 24 - 14)], {}],
  [
    'the same pixels in another encoding',
    [call(0, { pixelKey: 'p' }), call(1, { pixelKey: 'p', resultId: 'b' })],
    { samePixels: 1 },
  ],
  [
    'the same pixels in the same encoding count as evicted',
    [call(0, { pixelKey: 'p' }), call(1, { pixelKey: 'p' })],
    { samePixels: 0, evicted: 1 },
  ],
  [
    'the same pixels after expiry',
    [call(0, { pixelKey: 'p' }), call(10, { pixelKey: 'p', resultId: 'b' })],
    { samePixels: 0 },
  ],
  [
    'an image as large as the model uses',
    [call(0, { image: { width: 1024, height: 1024, bytes: 9 } })],
    { oversized: 0 },
  ],
  [
    'an image that is larger on either side',
    [call(0, { image: { width: 10, height: 1025, bytes: 9 } })],
    { oversized: 1 },
  ],
]

for (const [name, calls, expected] of ROWS) {
  t.test(`waste: ${name}`, async t => t.same(found(wasteOf(calls, terms)), { ...none, ...expected }))
}

t.test('each kind lists its credits, teams and most expensive results', async t => {
  const report = wasteOf(
    [
      call(0),
      call(1, { cost: 5 }),
      call(2, { cost: 7, team: 'labs' }),
      call(0, { resultId: 'b' }),
      call(1, { resultId: 'b', cost: 100 }),
      call(3, { purchase: 'no-cache', cost: 40 }),
      call(3, { purchase: 'no-cache', cost: 2, resultId: 'c' }),
    ],
    terms,
  )
  t.match(report.kinds.evicted, {
    calls: 3,
    credits: 112,
    teams: { labs: { calls: 1, credits: 7 }, vision: { calls: 2, credits: 105 } },
    top: [
      { resultId: 'b', calls: 1, credits: 100 },
      { resultId: 'a', calls: 2, credits: 12 },
    ],
  })
  t.same(report.freshAgain, { calls: 1, credits: 40 })
  t.same(report.paid, { calls: 7, credits: 3_554 })
  const labs = wasteOf([call(0), call(1, { team: 'labs', cost: 7 })], { ...terms, team: 'labs' })
  t.same(labs.paid, { calls: 1, credits: 7 }, 'the report of one team')
  t.equal(labs.kinds.evicted?.calls, 1, 'earlier purchases of other teams count')
})

t.test('mean costs are compared once there are enough images of both sizes', async t => {
  const of = (count: number, side: number, cost: number) =>
    Array.from({ length: count }, (_, index) =>
      call(index / 100, { resultId: `${side} ${index}`, cost, image: { width: side, height: side, bytes: 1_000 } }),
    )
  t.equal(wasteOf([...of(20, 2048, 30), ...of(19, 512, 10)], terms).meanCost, undefined)
  const report = wasteOf([...of(20, 2048, 30), ...of(20, 512, 10), call(0)], terms)
  t.same(report.meanCost, { oversized: 30, others: 10 })
  t.equal(report.needlessBytes, 15_000, 'three quarters of each image')
  t.equal(report.withoutSize, 1)
  t.equal(report.withoutPixels, 41)
})

t.test('paidCallOf reduces a settled entry', async t => {
  t.equal(paidCallOf(anEntry('a')), undefined, 'a reserved call is not paid')
  const settled = { outcome: 'unknown', cost: 5, costSource: 'estimate', settledAt: 1 } as const
  t.match(paidCallOf(anEntry('a', { state: 'unknown', settled, resultId: 'x' })), {
    resultId: 'x',
    cost: 5,
    purchase: 'first',
  })
})

t.test('calls that are added day by day give the same report as all at once', async t => {
  const calls = Array.from({ length: 200 }, (_, index) =>
    call((index * 7) % 190, { resultId: `r${index % 9}`, pixelKey: `p${index % 5}`, cost: index }),
  ).sort((one, other) => one.at - other.at)
  const search = new WasteSearch(terms)
  for (const day of new Set(calls.map(each => each.day))) search.add(calls.filter(each => each.day === day))
  t.same(search.report(), wasteOf(calls, terms))
})
