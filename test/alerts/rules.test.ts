import t from 'tap'
import type { BudgetFact, Condition, CreditFacts } from '../../src/alerts/facts.js'
import { evaluateRules, type RuleInputs } from '../../src/alerts/rules.js'

const NOW = Date.parse('2026-11-27T10:00:00Z')
const HOUR = 3_600
const DAY = 86_400
const HOUR_MS = 3_600_000
const CREDIT = 1_000_000_000

const evaluate = (known: Partial<RuleInputs>) => evaluateRules({ now: NOW, timeZone: 'Europe/Berlin', ...known })
const onlyOne = (known: Partial<RuleInputs>): Condition => {
  const found = evaluate(known)
  if (found.length !== 1 || !found[0] || found[0].isCleared)
    throw new Error(`not one condition: ${JSON.stringify(found)}`)
  return found[0]
}
const keys = (known: Partial<RuleInputs>) =>
  evaluate(known).map(({ key, isCleared }) => (isCleared ? `${key} cleared` : key))

const budget = (fields: Partial<BudgetFact> = {}): BudgetFact => ({
  team: 'vision',
  window: 'daily',
  windowName: '2026-11-27',
  limit: 5 * CREDIT,
  booked: 0,
  alertAt: [0.8, 1],
  ...fields,
})

const credits = (fields: Partial<CreditFacts> = {}): CreditFacts => ({
  burn: {},
  state: undefined,
  drifts: [],
  implausible: [],
  ...fields,
})

/** An account that the burn of the last hour empties in so many seconds. */
const emptyIn = (seconds: number, fields: Partial<CreditFacts> = {}) =>
  credits({ balance: { remaining: seconds * 1000, at: NOW }, burn: { '1h': 1000 }, ...fields })

t.test('without facts there are no conditions', async t => {
  t.strictSame(evaluate({}), [])
  t.strictSame(evaluate({ budgets: [], credits: credits() }), [])
})

t.test('a budget alerts from its threshold', async t => {
  t.strictSame(evaluate({ budgets: [budget({ booked: 4 * CREDIT - 1 })] }), [])
  t.strictSame(evaluate({ budgets: [budget({ booked: 4 * CREDIT })] }), [
    {
      key: 'budget:vision:daily:2026-11-27:0.8',
      type: 'budget.threshold',
      covers: [],
      data: {
        team: 'vision',
        window: 'daily',
        windowName: '2026-11-27',
        threshold: 0.8,
        share: 0.8,
        limitCredits: 5,
        bookedCredits: 4,
      },
      text: 'Team vision has used 80 % of its daily budget for 2026-11-27: 4 of 5 credits, including calls in flight.',
    },
  ])
})

t.test('the highest crossed threshold alerts and covers the lower ones', async t => {
  const { key, covers, text } = onlyOne({ budgets: [budget({ booked: 5 * CREDIT, alertAt: [0.5, 1, 0.8, 1] })] })
  t.equal(key, 'budget:vision:daily:2026-11-27:1')
  t.strictSame(covers, ['budget:vision:daily:2026-11-27:0.8', 'budget:vision:daily:2026-11-27:0.5'])
  t.match(text, /100 % .* 5 of 5 credits.* Further calls are refused/)
})

t.test('each window of each team alerts separately', async t => {
  const budgets = [
    budget({ booked: 4.5 * CREDIT }),
    budget({ window: 'monthly', windowName: '2026-11', limit: 60 * CREDIT, booked: 50 * CREDIT }),
    budget({ team: 'ocr', booked: 4.5 * CREDIT }),
    budget({ team: 'quiet', booked: 5 * CREDIT, alertAt: [] }),
    budget({ team: 'none', limit: 0 }),
  ]
  t.strictSame(keys({ budgets }), [
    'budget:vision:daily:2026-11-27:0.8',
    'budget:vision:monthly:2026-11:0.8',
    'budget:ocr:daily:2026-11-27:0.8',
  ])
})

t.test('a threshold is exact even if the share is not exact in binary', async t => {
  t.strictSame(keys({ budgets: [budget({ limit: 100, booked: 29, alertAt: [0.29] })] }).length, 1)
  t.strictSame(keys({ budgets: [budget({ limit: 100, booked: 28, alertAt: [0.29] })] }).length, 0)
})

t.test('a runway alert states when the account will be empty', async t => {
  const facts = credits({ balance: { remaining: 1.2 * CREDIT, at: NOW }, burn: { '24h': (0.1 * CREDIT) / HOUR } })
  const { key, type, text, data } = onlyOne({ credits: facts })
  t.strictSame({ key, type }, { key: 'runway:24h', type: 'credits.runway' })
  t.equal(
    text,
    'The Segmind account will be empty in about 12 hours (Friday 27 November 23:00 Europe/Berlin): 1.2 credits left, 0.1 credits spent per hour.',
  )
  t.strictSame(data, {
    threshold: '24h',
    seconds: 12 * HOUR,
    emptyAt: '2026-11-27T22:00:00.000Z',
    emptyAtLocal: 'Friday 27 November 23:00 Europe/Berlin',
    remainingCredits: 1.2,
    burnPerHourCredits: 0.1,
  })
})

t.test('a runway threshold alerts below it and clears at 1.2 times it', async t => {
  const longerCleared = ['runway:24h cleared', 'runway:7d cleared']
  t.strictSame(keys({ credits: emptyIn(2 * HOUR - 1) }), ['runway:2h'])
  t.strictSame(keys({ credits: emptyIn(2 * HOUR) }), ['runway:24h'])
  t.strictSame(keys({ credits: emptyIn(2.4 * HOUR - 1) }), ['runway:24h'])
  t.strictSame(keys({ credits: emptyIn(2.4 * HOUR) }), ['runway:2h cleared', 'runway:24h'])
  t.strictSame(keys({ credits: emptyIn(1.1 * DAY) }), ['runway:2h cleared', 'runway:7d'])
  t.strictSame(keys({ credits: emptyIn(1.2 * DAY) }), ['runway:2h cleared', 'runway:24h cleared', 'runway:7d'])
  t.strictSame(keys({ credits: emptyIn(8 * DAY) }), ['runway:2h cleared', 'runway:24h cleared'])
  t.strictSame(keys({ credits: emptyIn(8.4 * DAY) }), ['runway:2h cleared', ...longerCleared])
  t.strictSame(
    keys({ credits: emptyIn(1, { burn: { '1h': 0 } }) }),
    ['runway:2h cleared', ...longerCleared],
    'without spending all thresholds clear',
  )
})

t.test('the shortest runway threshold covers the longer ones', async t => {
  t.strictSame(onlyOne({ credits: emptyIn(HOUR) }).covers, ['runway:24h', 'runway:7d'])
})

t.test('each runway threshold uses the burn over its own length', async t => {
  // A busy hour of a quiet week: 1.5 hours at the burn of the hour, 6 days at that of the day, 30
  // days at that of the week.
  const balance = { remaining: 30 * DAY * 1000, at: NOW }
  const burn = { '1h': 1000 * 480, '24h': 1000 * 5, '7d': 1000 }
  t.strictSame(keys({ credits: credits({ balance, burn }) }), ['runway:24h cleared', 'runway:7d cleared', 'runway:2h'])
  // Without an hourly burn the two-hour threshold is undecided. The daily burn replaces the weekly
  // one.
  t.strictSame(keys({ credits: credits({ balance, burn: { '24h': 5000 } }) }), ['runway:24h cleared', 'runway:7d'])
  // The weekly burn does not decide the daily threshold.
  t.strictSame(keys({ credits: credits({ balance, burn: { '7d': 1000 } }) }), ['runway:7d cleared'])
})

t.test('there is no runway alert without balance or burn, and an empty account alerts by its state', async t => {
  t.strictSame(keys({ credits: credits({ burn: { '1h': 1000 } }) }), [])
  t.strictSame(keys({ credits: credits({ balance: { remaining: 1000, at: NOW } }) }), [])
  t.strictSame(keys({ credits: emptyIn(0) }), [])
  t.strictSame(keys({ credits: emptyIn(10, { state: { name: 'empty', since: NOW } }) }), [`state:empty:${NOW}`])
})

t.test('a change of the credit state alerts with its start', async t => {
  const balance = { remaining: 300_000_000, at: NOW }
  const state = { name: 'reserve', since: NOW - 1000, before: 'normal' } as const
  t.strictSame(onlyOne({ credits: credits({ state, balance }) }), {
    key: `state:reserve:${NOW - 1000}`,
    type: 'credits.state',
    data: { state: 'reserve', before: 'normal', since: '2026-11-27T09:59:59.000Z', remainingCredits: 0.3 },
    text: 'The Segmind account is down to its reserve. Only protected teams may spend. The others get cached results only. Balance: 0.3 credits.',
  })
  const empty = onlyOne({ credits: credits({ state: { name: 'empty', since: NOW, before: 'reserve' } }) })
  t.match(empty, { key: `state:empty:${NOW}`, text: /out of credits.*topped up\.$/ })
})

t.test('a recovery alerts within a day', async t => {
  const recovered = (since: number) => credits({ state: { name: 'normal', since, before: 'empty' } })
  t.match(onlyOne({ credits: recovered(NOW - DAY * 1000) }), {
    data: { state: 'normal', before: 'empty' },
    text: /again/,
  })
  t.strictSame(keys({ credits: recovered(NOW - DAY * 1000 - 1) }), [])
})

t.test('a gateway that starts with enough credits sends nothing, and one that starts without does', async t => {
  t.strictSame(keys({ credits: credits({ state: { name: 'normal', since: NOW } }) }), [])
  t.strictSame(keys({ credits: credits({ state: { name: 'reserve', since: NOW } }) }), [`state:reserve:${NOW}`])
})

t.test('each foreign use of the shared key alerts once', async t => {
  const drifts = [
    { id: 'e1', at: NOW - 1000, kind: 'foreign', amount: 120_000_000 },
    { id: 'e2', at: NOW, kind: 'foreign', amount: 1_000_000 },
  ] as const
  t.strictSame(evaluate({ credits: credits({ drifts }) })[0], {
    key: 'drift:e1',
    type: 'credits.drift',
    data: { id: 'e1', kind: 'foreign', at: '2026-11-27T09:59:59.000Z', amountCredits: 0.12 },
    text: '0.12 credits were spent outside of this gateway. Another client probably uses the shared key.',
  })
  t.strictSame(keys({ credits: credits({ drifts }) }), ['drift:e1', 'drift:e2'])
})

t.test('an implausible figure alerts with both figures, once an hour', async t => {
  const cost = { figure: 'cost', claimed: 17 * CREDIT, expected: 1_700_000 } as const
  const implausible = [
    { id: 'e3', at: NOW - 2 * HOUR_MS, ...cost },
    { id: 'e4', at: NOW - 1000, ...cost },
    { id: 'e5', at: NOW, figure: 'balance', claimed: -CREDIT, expected: 9 * CREDIT },
    { id: 'e6', at: NOW - 500, ...cost },
  ] as const
  const hourOf = (at: number) => Math.floor(at / HOUR_MS)
  t.strictSame(evaluate({ credits: credits({ implausible }) })[1], {
    key: `implausible:cost:${hourOf(NOW - 1000)}`,
    type: 'credits.implausible',
    data: { id: 'e4', figure: 'cost', at: '2026-11-27T09:59:59.000Z', claimedCredits: 17, expectedCredits: 0.0017 },
    text: 'Segmind stated a cost of 17 credits where about 0.0017 were expected. The figure was not used.',
  })
  t.strictSame(keys({ credits: credits({ implausible }) }), [
    `implausible:cost:${hourOf(NOW - 2 * HOUR_MS)}`,
    `implausible:cost:${hourOf(NOW - 1000)}`,
    `implausible:balance:${hourOf(NOW)}`,
  ])
})

t.test('a refused shared key alerts, and an accepted one clears', async t => {
  t.match(onlyOne({ sharedKey: 'refused' }), {
    key: 'upstream:unauthorized',
    type: 'upstream.unauthorized',
    text: /SEGMIND_API_KEY/,
  })
  t.strictSame(evaluate({ sharedKey: 'accepted' }), [{ key: 'upstream:unauthorized', isCleared: true }])
})

t.test('no text contains characters that Slack interprets', async t => {
  const everything = evaluate({
    budgets: [budget({ booked: 5 * CREDIT })],
    credits: emptyIn(HOUR, {
      state: { name: 'reserve', since: NOW },
      drifts: [{ id: 'e', at: NOW, kind: 'foreign', amount: 1 }],
      implausible: [{ id: 'i', at: NOW, figure: 'cost', claimed: 2, expected: 1 }],
    }),
    sharedKey: 'refused',
  })
  t.equal(everything.length, 6)
  for (const condition of everything) if (!condition.isCleared) t.notMatch(condition.text, /[&<>\n]/)
})
