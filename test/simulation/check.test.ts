import t from 'tap'
import type { LedgerEntry } from '../../src/contracts/ledger.js'
import { check, checkClean } from './check.js'
import type { FaultRecord, History, RequestRecord, UpstreamCall } from './history.js'
import { planOf } from './plan.js'

const COST = 1_700_000
const AT = 1_000_000

const aRequest = (changes: Partial<RequestRecord> = {}): RequestRecord => ({
  id: 'r1',
  input: 1,
  team: 'team-0',
  process: 'a',
  at: AT,
  mode: 'plain',
  hasLeft: false,
  outcomes: ['miss'],
  picture: 1,
  endedAt: AT + 1_000,
  ...changes,
})

const aCall = (changes: Partial<UpstreamCall> = {}): UpstreamCall => ({
  id: 'c1',
  input: 1,
  requestId: 'r1',
  process: 'a',
  at: AT + 10,
  endedAt: AT + 990,
  cost: COST,
  isDelivered: true,
  isLie: false,
  status: 200,
  ...changes,
})

const anEntry = (changes: Partial<LedgerEntry> = {}, cost = COST): LedgerEntry => ({
  callId: 'e1',
  team: 'team-0',
  keyId: 'key',
  requestId: 'r1',
  at: AT,
  day: '2026-11-22',
  month: '2026-11',
  resultId: 'x',
  estimate: 2_000_000,
  state: 'charged',
  settled: { outcome: 'charged', cost, costSource: 'header', settledAt: AT + 995, upstreamRequestId: 'c1' },
  ...changes,
})

const byBalance = (cost: number) =>
  anEntry({ settled: { outcome: 'charged', cost, costSource: 'balance', settledAt: AT + 200_000 } })

/** One purchase that went well, with changes. */
function aHistory(changes: Partial<History> = {}): History {
  const plan = { ...planOf(1), teams: [{ id: 'team-0', isProtected: false, daily: 10 * COST }] }
  const spent = (changes.entries ?? [anEntry()]).reduce((sum, { settled }) => sum + (settled?.cost ?? 0), 0)
  return {
    plan,
    calls: [aCall()],
    requests: [aRequest()],
    faults: [],
    logs: [],
    entries: [anEntry()],
    mismatches: [],
    spent,
    leftovers: { leases: 0, reserved: 0 },
    cached: [1],
    account: { remaining: 1e9 - spent, drift: 0, topUps: 0, events: [] },
    segmind: { opening: 1e9, balance: 1e9 - spent, foreign: 0, topUps: 0 },
    uncaught: [],
    endedAt: AT + 100_000,
    ...changes,
  }
}

const rulesOf = (history: History) => [...new Set(check(history).map(({ rule }) => rule))]
const aFault = (kind: FaultRecord['kind'], changes: Partial<FaultRecord> = {}): FaultRecord => ({
  kind,
  from: AT + 500,
  to: AT + 1_500,
  ...changes,
})

/** The same input is bought again by another replica, two seconds later. */
const again = {
  requests: [aRequest(), aRequest({ id: 'r2', process: 'b', at: AT + 2_000, endedAt: AT + 3_000 })],
  calls: [aCall(), aCall({ id: 'c2', requestId: 'r2', process: 'b', at: AT + 2_010, endedAt: AT + 2_900 })],
  entries: [
    anEntry(),
    anEntry({
      callId: 'e2',
      requestId: 'r2',
      settled: { outcome: 'charged', cost: COST, costSource: 'header', settledAt: AT + 2_910, upstreamRequestId: 'c2' },
    }),
  ],
}
const anEvent = (kind: 'foreign' | 'topUp' | 'price' | 'implausible', amount = 5e8) => {
  const event = { id: 'x', at: AT + 5_000, month: '2026-11', kind, amount }
  return { account: { remaining: 1e9 - COST, drift: 0, topUps: 0, events: [event] } }
}
/** Two purchases whose answers stated a balance that was too low, and the event that they caused. */
const misstated = (...errors: [number, number]) =>
  aHistory({
    ...again,
    calls: again.calls.map((call, index) => ({
      ...call,
      input: index + 1,
      isLie: true,
      balanceError: errors[index] ?? 0,
    })),
    cached: [1, 2],
    account: { ...anEvent('foreign', errors[1]).account, remaining: 1e9 - 2 * COST },
  })
const aLog = (message: string) => ({ logs: [{ at: AT + 900, process: 'a', level: 'error', message, fields: {} }] })

t.test('a history in which every promise was kept has no violation', async t => {
  t.same(check(aHistory()), [])
  t.same(checkClean(aHistory(), new Map()), [])
})

const VIOLATIONS: [name: string, rule: string, history: History][] = [
  ['a billed call without an entry', 'books', aHistory({ entries: [] })],
  ['a charge that is not what Segmind billed', 'books', aHistory({ entries: [anEntry({}, COST + 1)] })],
  [
    'a charge by the balance for neither the call nor what others spent',
    'books',
    aHistory({
      calls: [aCall({ cost: 0 })],
      entries: [byBalance(COST)],
      faults: [aFault('foreign', { amount: 2 * COST })],
    }),
  ],
  ['a charge for a call that was not billed', 'books', aHistory({ calls: [aCall({ cost: 0 })] })],
  ['a sum that differs from its entries', 'books', aHistory({ mismatches: ['x'] })],
  ['a balance that was never compared', 'books', aHistory({ account: undefined })],
  [
    'a balance that does not add up',
    'books',
    aHistory({ segmind: { opening: 1e9 + 1, balance: 1e9 - COST, foreign: 0, topUps: 0 } }),
  ],
  ['a second purchase', 'once', aHistory(again)],
  ['a slot that is left', 'leftovers', aHistory({ leftovers: { entries: 1 } })],
  ['a lease that is left', 'leftovers', aHistory({ leftovers: { leases: 1 } })],
  [
    'a lease of a process that was drained while another one was cut off',
    'leftovers',
    aHistory({
      leftovers: { leases: 1 },
      faults: [aFault('drained', { process: 'a' }), aFault('link-down', { process: 'b' })],
    }),
  ],
  [
    'an overspent budget',
    'budgets',
    aHistory({ plan: { ...aHistory().plan, teams: [{ id: 'team-0', isProtected: false, daily: COST - 1 }] } }),
  ],
  ['a request without an answer', 'answers', aHistory({ requests: [aRequest({ outcomes: [] })] })],
  ['a request with two answers', 'answers', aHistory({ requests: [aRequest({ outcomes: ['miss', 'hit'] })] })],
  ["another request's picture", 'answers', aHistory({ requests: [aRequest({ picture: 2 })] })],
  ['a late answer', 'answers', aHistory({ requests: [aRequest({ endedAt: AT + 20_000 })] })],
  ['a paid picture that is not kept', 'answers', aHistory({ cached: [] })],
  ['a false foreign event', 'events', aHistory(anEvent('foreign'))],
  ['a foreign event of two different wrong balances', 'events', misstated(21e8, 145e7)],
  ['a false top-up', 'events', aHistory(anEvent('topUp'))],
  ['a false price change', 'events', aHistory(anEvent('price'))],
  ['a false implausible figure', 'events', aHistory(anEvent('implausible'))],
  [
    'an implausible figure of one top-up',
    'events',
    aHistory({ ...anEvent('implausible'), faults: [aFault('top-up')] }),
  ],
  ['a whole ledger that is reported as lost', 'events', aHistory(aLog('ledger was lost or rolled back'))],
  ['an uncaught error', 'errors', aHistory({ uncaught: ['Error'] })],
  ['a step that was given up', 'errors', aHistory(aLog('ledger step lost'))],
  ['a lost ledger that is not noticed', 'ledger', aHistory({ faults: [aFault('store-emptied', { isSeen: true })] })],
  [
    'a purchase of a team with a budget in a lost ledger',
    'ledger',
    aHistory({
      faults: [aFault('store-emptied', { from: AT - 60_000, to: AT - 60_000 })],
      logs: [{ ...aLog('').logs[0], at: AT - 50_000, message: 'ledger was lost' } as never],
    }),
  ],
]
for (const [name, rule, history] of VIOLATIONS)
  t.test(`${name} is a violation of ${rule}`, async t => t.ok(rulesOf(history).includes(rule as 'books')))

const EXPLAINED: [name: string, history: History][] = [
  ['a second purchase after the store was emptied', aHistory({ ...again, faults: [aFault('store-emptied')] })],
  ['one after its buyer was killed', aHistory({ ...again, faults: [aFault('killed', { process: 'a' })] })],
  [
    'one that its caller demanded',
    aHistory({ ...again, requests: [aRequest(), aRequest({ id: 'r2', mode: 'no-cache', at: AT + 2_000 })] }),
  ],
  [
    'one after a failure',
    aHistory({ ...again, calls: [aCall({ isDelivered: false }), again.calls[1] as UpstreamCall] }),
  ],
  [
    'no answer of a process that was killed',
    aHistory({
      requests: [aRequest({ outcomes: [] })],
      faults: [aFault('killed', { process: 'a' })],
    }),
  ],
  [
    'a lease of a process that was drained while the store was full',
    aHistory({ leftovers: { leases: 1 }, faults: [aFault('drained', { process: 'a' }), aFault('store-full')] }),
  ],
  [
    'a charge for what others spent while the call was unknown',
    aHistory({
      calls: [aCall({ cost: 0 })],
      entries: [byBalance(COST)],
      faults: [aFault('foreign', { amount: COST })],
    }),
  ],
  ['an event of a top-up', aHistory({ ...anEvent('topUp'), faults: [aFault('top-up', { amount: 5e8 })] })],
  ['an event of two balances that were wrong by the same amount', misstated(145e7, 145e7)],
  [
    'an implausible figure of two top-ups, the second one before the first was confirmed',
    aHistory({ ...anEvent('implausible'), faults: [aFault('top-up'), aFault('top-up', { from: AT + 2_000 })] }),
  ],
  ['an implausible figure of Segmind', aHistory({ ...anEvent('implausible'), calls: [aCall({ isLie: true })] })],
]
for (const [name, history] of EXPLAINED) t.test(`a fault explains ${name}`, async t => t.same(rulesOf(history), []))

t.test('the second purchase is not explained by a fault of another replica, or a later one', async t => {
  t.same(rulesOf(aHistory({ ...again, faults: [aFault('killed', { process: 'c' })] })), ['once'])
  const later = aFault('store-frozen', { from: AT + 50_000, to: AT + 60_000 })
  t.same(rulesOf(aHistory({ ...again, faults: [later] })), ['once'])
})

t.test('days without faults have no event, alert, warning or estimate', async t => {
  const found = (changes: Partial<History>, alerts = new Map<string, number>()) =>
    checkClean(aHistory(changes), alerts).length > 0
  t.ok(found({}, new Map([['runway:2h', AT]])))
  t.ok(found(anEvent('foreign')))
  t.ok(found(aLog('store operation failed')))
  t.ok(found({ requests: [aRequest({ outcomes: ['upstream_failed'] })] }))
  t.ok(found({ faults: [aFault('top-up', { amount: 5 })] }), 'a top-up that was not noticed')
})
