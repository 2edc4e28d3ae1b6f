import t from 'tap'
import type { UsageDay } from '../../src/contracts/store.js'
import { MonthStatements, type MonthStatementsOptions } from '../../src/credits/month-statements.js'
import { createBudgetCalendar } from '../../src/credits/windows.js'
import { memoryRecords } from '../support/doubles/memory-records.js'
import { ACCOUNT, usageDay } from '../support/doubles/usage.js'

const MONTH = '2026-11'
const charged = usageDay('2026-11-01', 'a', { requests: 1, paidCalls: 1, charged: 3_400_000, shared: -850_000 })
const unknown = usageDay('2026-11-02', 'b', { unknownCalls: 1, unknown: 2_000_000, shared: 850_000 })

function world(changes: Partial<MonthStatementsOptions> = {}) {
  const state = { now: Date.parse('2026-12-02T10:00:00Z'), usage: [charged, unknown] as UsageDay[] }
  const options: MonthStatementsOptions = {
    usage: async (_month, team) => state.usage.filter(day => team === undefined || day.team === team),
    account: async () => ACCOUNT,
    records: memoryRecords(),
    policy: 'split',
    calendar: createBudgetCalendar('UTC'),
    now: () => state.now,
    ...changes,
  }
  return { state, statements: new MonthStatements(options), options }
}

t.test('the statement of an open month follows the ledger, and one of a single team has no account', async t => {
  const { state, statements } = world()
  t.match(await statements.read(MONTH), { totals: { billed: 5_400_000 }, account: { drift: 5_010_000_000 } })
  state.usage = [charged]
  t.match(await statements.read(MONTH), { totals: { billed: 2_550_000 } })
  const own = await statements.read(MONTH, 'a')
  t.match(own, { teams: [{ team: 'a' }] })
  for (const absent of ['account', 'closed', 'sinceClosed']) t.notOk(absent in own, absent)
})

t.test('a closed month stays as it was and lists later bookings apart', async t => {
  const { state, statements, options } = world()
  const closed = await statements.close(MONTH, 'operator')
  t.match(closed, { totals: { billed: 5_400_000 }, closed: { at: state.now, by: 'operator' }, sinceClosed: [] })
  state.usage = [charged, usageDay('2026-11-02', 'b', { paidCalls: 1, charged: 1_700_000, shared: 850_000 })]
  const billed = { team: 'b', figures: { billed: -300_000, charged: 1_700_000, unknown: -2_000_000 } }
  const others = new MonthStatements({ ...options, policy: 'first-payer', account: async () => undefined })
  for (const each of [statements, others]) {
    const { sinceClosed, ...frozen } = await each.read(MONTH)
    t.strictSame(frozen, Object.fromEntries(Object.entries(closed).filter(([name]) => name !== 'sinceClosed')))
    t.match(sinceClosed, [billed])
    t.equal(sinceClosed?.length, 1)
  }
  t.match(await statements.read(MONTH, 'b'), {
    teams: [{ team: 'b', totals: { unknown: 2_000_000 } }],
    sinceClosed: [billed],
  })
  t.match(await statements.read(MONTH, 'a'), { teams: [{ team: 'a' }], sinceClosed: [], closed: {} })
  t.notOk((await statements.read('2026-12')).closed, 'other months stay open')
})

t.test('a month can be closed once it is over in the time zone of the budgets', async t => {
  const { state, statements } = world({ calendar: createBudgetCalendar('America/New_York') })
  const tooEarly = { code: 'invalid_request', message: /2026-11 cannot be closed yet: it is not over/ }
  state.now = Date.parse('2026-12-01T04:59:59Z')
  await t.rejects(statements.close(MONTH, 'cli'), tooEarly)
  await t.rejects(statements.close('2027-01', 'cli'), { code: 'invalid_request' })
  state.now = Date.parse('2026-12-01T05:00:00Z')
  t.match(await statements.close(MONTH, 'cli'), { closed: { by: 'cli' } })
})

t.test('a month with pending calls cannot be closed, and the error counts them', async t => {
  const { state, statements } = world()
  state.usage = [
    charged,
    usageDay('2026-11-30', 'b', { reservedCalls: 2, reserved: 4 }),
    usageDay('2026-11-30', 'c', { reservedCalls: 1 }),
  ]
  await t.rejects(statements.close(MONTH, 'cli'), { code: 'invalid_request', message: /still pending: 3\.$/ })
  t.notOk((await statements.read(MONTH)).closed)
  state.usage = [charged]
  await statements.close(MONTH, 'cli')
})

t.test('reopening returns the closed statement and opens the month', async t => {
  const { state, statements } = world()
  await t.rejects(statements.reopen(MONTH, 'cli'), { code: 'not_found' })
  const { sinceClosed: _none, ...closed } = await statements.close(MONTH, 'cli')
  const closedAt = state.now
  state.usage = [charged]
  state.now += 1000
  t.match(await statements.reopen(MONTH, 'operator'), { ...closed, sinceClosed: [{ team: 'b' }] })
  t.notOk((await statements.read(MONTH)).closed)
  await t.rejects(statements.reopen(MONTH, 'cli'), { code: 'not_found' })
  t.strictSame(await statements.history(MONTH), [
    { month: MONTH, what: 'closed', at: closedAt, by: 'cli', closedAt },
    { month: MONTH, what: 'reopened', at: state.now, by: 'operator', closedAt },
  ])
  t.strictSame(await statements.history('2026-10'), [])
})
