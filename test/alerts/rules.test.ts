import t from 'tap'
import type { BudgetFact, Condition, CreditFacts } from '../../src/alerts/facts.js'
import { conditionsOf, type Knowledge } from '../../src/alerts/rules.js'

const NOW = Date.parse('2026-11-27T10:00:00Z')
const HOUR = 3_600
const DAY = 86_400
const CREDIT = 1_000_000_000

const judged = (known: Partial<Knowledge>) => conditionsOf({ now: NOW, timeZone: 'Europe/Berlin', ...known })
const onlyOne = (known: Partial<Knowledge>): Condition => {
  const found = judged(known)
  if (found.length !== 1 || !found[0] || found[0].isOver) throw new Error(`not one condition: ${JSON.stringify(found)}`)
  return found[0]
}
const keys = (known: Partial<Knowledge>) => judged(known).map(({ key, isOver }) => (isOver ? `${key} over` : key))

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
  ...fields,
})

/** An account that one hour's burn empties in so many seconds. */
const emptyIn = (seconds: number, fields: Partial<CreditFacts> = {}) =>
  credits({ balance: { remaining: seconds * 1000, at: NOW }, burn: { '1h': 1000 }, ...fields })

t.test('nothing known, nothing said', async t => {
  t.strictSame(judged({}), [])
  t.strictSame(judged({ budgets: [], credits: credits() }), [])
})

t.test('a budget is told from the threshold on', async t => {
  t.strictSame(judged({ budgets: [budget({ booked: 4 * CREDIT - 1 })] }), [])
  t.strictSame(judged({ budgets: [budget({ booked: 4 * CREDIT })] }), [
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
      text: 'Team vision has used 80 % of its daily budget for 2026-11-27: 4 of 5 credits, calls under way included.',
    },
  ])
})

t.test('of several thresholds the highest is told, and tells the lower ones', async t => {
  const { key, covers, text } = onlyOne({ budgets: [budget({ booked: 5 * CREDIT, alertAt: [0.5, 1, 0.8, 1] })] })
  t.equal(key, 'budget:vision:daily:2026-11-27:1')
  t.strictSame(covers, ['budget:vision:daily:2026-11-27:0.8', 'budget:vision:daily:2026-11-27:0.5'])
  t.match(text, /100 % .* 5 of 5 credits.* Further calls are refused/)
})

t.test('each window of each team is told by itself', async t => {
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

t.test('a threshold is exact where the share is no round number in binary', async t => {
  t.strictSame(keys({ budgets: [budget({ limit: 100, booked: 29, alertAt: [0.29] })] }).length, 1)
  t.strictSame(keys({ budgets: [budget({ limit: 100, booked: 28, alertAt: [0.29] })] }).length, 0)
})

t.test('a runway is told with the time of day it ends', async t => {
  const facts = credits({ balance: { remaining: 1.2 * CREDIT, at: NOW }, burn: { '24h': (0.1 * CREDIT) / HOUR } })
  const { key, type, text, data } = onlyOne({ credits: facts })
  t.strictSame({ key, type }, { key: 'runway:24h', type: 'credits.runway' })
  t.equal(
    text,
    'The Segmind account will be empty in about 12 hours, on Friday 27 November 23:00 Europe/Berlin: 1.2 credits are left, and 0.1 an hour are spent.',
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

t.test('each threshold is told below it, and over from 1.2 times it; in between nothing is said', async t => {
  const longerOver = ['runway:24h over', 'runway:7d over']
  t.strictSame(keys({ credits: emptyIn(2 * HOUR - 1) }), ['runway:2h'])
  t.strictSame(keys({ credits: emptyIn(2 * HOUR) }), ['runway:24h'])
  t.strictSame(keys({ credits: emptyIn(2.4 * HOUR - 1) }), ['runway:24h'])
  t.strictSame(keys({ credits: emptyIn(2.4 * HOUR) }), ['runway:2h over', 'runway:24h'])
  t.strictSame(keys({ credits: emptyIn(1.1 * DAY) }), ['runway:2h over', 'runway:7d'])
  t.strictSame(keys({ credits: emptyIn(1.2 * DAY) }), ['runway:2h over', 'runway:24h over', 'runway:7d'])
  t.strictSame(keys({ credits: emptyIn(8 * DAY) }), ['runway:2h over', 'runway:24h over'])
  t.strictSame(keys({ credits: emptyIn(8.4 * DAY) }), ['runway:2h over', ...longerOver])
  t.strictSame(
    keys({ credits: emptyIn(1, { burn: { '1h': 0 } }) }),
    ['runway:2h over', ...longerOver],
    'nothing is spent',
  )
})

t.test('the shortest runway tells the longer ones', async t => {
  t.strictSame(onlyOne({ credits: emptyIn(HOUR) }).covers, ['runway:24h', 'runway:7d'])
})

t.test('each threshold is judged by the burn over its own length', async t => {
  // A busy hour of a quiet week: 1.5 hours at the rate of the last hour, 6 days at that of the day, 30 at that of the week.
  const balance = { remaining: 30 * DAY * 1000, at: NOW }
  const burn = { '1h': 1000 * 480, '24h': 1000 * 5, '7d': 1000 }
  t.strictSame(keys({ credits: credits({ balance, burn }) }), ['runway:24h over', 'runway:7d over', 'runway:2h'])
  // Without the burn of an hour nothing is said about two hours; a day's stands in for a week's.
  t.strictSame(keys({ credits: credits({ balance, burn: { '24h': 5000 } }) }), ['runway:24h over', 'runway:7d'])
  // A week's burn says nothing about a day.
  t.strictSame(keys({ credits: credits({ balance, burn: { '7d': 1000 } }) }), ['runway:7d over'])
})

t.test('without a balance or a burn there is no runway, and an empty account is told by its state', async t => {
  t.strictSame(keys({ credits: credits({ burn: { '1h': 1000 } }) }), [])
  t.strictSame(keys({ credits: credits({ balance: { remaining: 1000, at: NOW } }) }), [])
  t.strictSame(keys({ credits: emptyIn(0) }), [])
  t.strictSame(keys({ credits: emptyIn(10, { state: { name: 'empty', since: NOW } }) }), [`state:empty:${NOW}`])
})

t.test('every change of the credit state is told once for the time it began', async t => {
  const balance = { remaining: 300_000_000, at: NOW }
  const state = { name: 'reserve', since: NOW - 1000, before: 'normal' } as const
  t.strictSame(onlyOne({ credits: credits({ state, balance }) }), {
    key: `state:reserve:${NOW - 1000}`,
    type: 'credits.state',
    data: { state: 'reserve', before: 'normal', since: '2026-11-27T09:59:59.000Z', remainingCredits: 0.3 },
    text: 'The Segmind account is down to its reserve: only protected teams may spend, all others get cached answers. 0.3 credits are left.',
  })
  const empty = onlyOne({ credits: credits({ state: { name: 'empty', since: NOW, before: 'reserve' } }) })
  t.match(empty, { key: `state:empty:${NOW}`, text: /out of credits.*topped up\.$/ })
})

t.test('recovery is told while it is news', async t => {
  const recovered = (since: number) => credits({ state: { name: 'normal', since, before: 'empty' } })
  t.match(onlyOne({ credits: recovered(NOW - DAY * 1000) }), {
    data: { state: 'normal', before: 'empty' },
    text: /again/,
  })
  t.strictSame(keys({ credits: recovered(NOW - DAY * 1000 - 1) }), [])
})

t.test('a gateway that starts with enough credits tells nothing, one that starts without does', async t => {
  t.strictSame(keys({ credits: credits({ state: { name: 'normal', since: NOW } }) }), [])
  t.strictSame(keys({ credits: credits({ state: { name: 'reserve', since: NOW } }) }), [`state:reserve:${NOW}`])
})

t.test('each foreign use of the key is told by its event', async t => {
  const drifts = [
    { id: 'e1', at: NOW - 1000, kind: 'foreign', amount: 120_000_000 },
    { id: 'e2', at: NOW, kind: 'foreign', amount: 1_000_000 },
  ] as const
  t.strictSame(judged({ credits: credits({ drifts }) })[0], {
    key: 'drift:e1',
    type: 'credits.drift',
    data: { id: 'e1', kind: 'foreign', at: '2026-11-27T09:59:59.000Z', amountCredits: 0.12 },
    text: '0.12 credits left the Segmind account that this gateway did not spend: somebody else seems to use the shared key.',
  })
  t.strictSame(keys({ credits: credits({ drifts }) }), ['drift:e1', 'drift:e2'])
})

t.test('a shared key that is refused is told, and over when it is accepted', async t => {
  t.match(onlyOne({ sharedKey: 'refused' }), {
    key: 'upstream:unauthorized',
    type: 'upstream.unauthorized',
    text: /SEGMIND_API_KEY/,
  })
  t.strictSame(judged({ sharedKey: 'accepted' }), [{ key: 'upstream:unauthorized', isOver: true }])
})

t.test('no text holds what Slack would take for a command', async t => {
  const everything = judged({
    budgets: [budget({ booked: 5 * CREDIT })],
    credits: emptyIn(HOUR, {
      state: { name: 'reserve', since: NOW },
      drifts: [{ id: 'e', at: NOW, kind: 'foreign', amount: 1 }],
    }),
    sharedKey: 'refused',
  })
  t.equal(everything.length, 5)
  for (const condition of everything) if (!condition.isOver) t.notMatch(condition.text, /[&<>\n]/)
})
