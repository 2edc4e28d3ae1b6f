import t from 'tap'
import { Allowance } from '../../src/credits/allowance.js'
import { Journal } from '../../src/credits/journal.js'
import { createBudgetCalendar } from '../../src/credits/windows.js'
import { modelLedger } from '../support/model-ledger.js'
import { aTeam } from '../support/team.js'

const calendar = createBudgetCalendar('UTC')
const NOON = Date.parse('2026-11-22T12:00:00Z')

t.test('Allowance: the least of the budgets and the balance, never below 0, absent when nothing is known', async t => {
  const rows: [
    name: string,
    budget: { daily?: number; monthly?: number } | undefined,
    balance: number | undefined,
    remaining: number | undefined,
  ][] = [
    ['nothing known', undefined, undefined, undefined],
    ['balance only', undefined, 100, 100],
    ['daily binds', { daily: 30, monthly: 90 }, 100, 20],
    ['monthly binds', { daily: 90, monthly: 15 }, 100, 5],
    ['balance binds', { daily: 90 }, 3, 3],
    ['overspent is 0', { daily: 5 }, 100, 0],
    ['budget without balance', { daily: 30 }, undefined, 20],
  ]
  for (const [name, budget, balance, remaining] of rows) {
    const allowance = new Allowance({
      store: { booked: async () => ({ daily: 10, monthly: 10 }) },
      calendar,
      reserve: 0,
      balance: () => balance,
      now: () => NOON,
    })
    t.equal(await allowance.remaining(aTeam(budget ? { budget } : {})), remaining, name)
  }
})

t.test(
  'Allowance: remembers for a second, forgets what was just spent, leaves budgets out when the store is down',
  async t => {
    let now = NOON
    let asked = 0
    let isDown = false
    const allowance = new Allowance({
      store: {
        booked: async () => {
          asked++
          if (isDown) throw new Error('down')
          return { daily: asked, monthly: asked }
        },
      },
      calendar,
      reserve: 0,
      balance: () => undefined,
      now: () => now,
    })
    const team = aTeam({ budget: { daily: 10 } })
    t.equal(await allowance.remaining(team), 9)
    t.equal(await allowance.remaining(team), 9)
    allowance.forget(team.id)
    t.equal(await allowance.remaining(team), 8)
    now += 1000
    t.same(await allowance.budgets([team, aTeam({ id: 'free' })]), [{ team: 'vision', window: 'daily', remaining: 7 }])
    isDown = true
    now += 1000
    t.equal(await allowance.remaining(team), undefined)
    t.same(await allowance.budgets([team]), [])
  },
)

t.test('Journal: adds up answers and savings per team and day, writes them in one batch', async t => {
  const { store, activity } = modelLedger()
  const told: string[] = []
  const journal = new Journal({
    store,
    calendar,
    now: () => NOON,
    everyMs: 1e6,
    onAnswered: (team, how) => told.push(`${team} ${how}`),
    onStoreFailure: () => {},
  })
  journal.answered(aTeam(), 'miss', 17)
  journal.answered(aTeam(), 'hit', 17)
  journal.answered(aTeam(), 'stale', 3)
  journal.answered(aTeam(), 'coalesced', 5)
  journal.answered(aTeam({ id: 'other' }), 'bypass', 9)
  await journal.flush()
  t.same(activity, [
    {
      team: 'vision',
      day: '2026-11-22',
      activity: { requests: 4, hits: 2, coalesced: 1, savedByCache: 20, savedByCoalescing: 5 },
    },
    {
      team: 'other',
      day: '2026-11-22',
      activity: { requests: 1, hits: 0, coalesced: 0, savedByCache: 0, savedByCoalescing: 0 },
    },
  ])
  t.equal(told.length, 5)
  await journal.flush()
  t.equal(activity.length, 2, 'nothing is written twice')
})

t.test(
  'Journal: what the store surely did not take is counted on; what it may have taken is not counted twice',
  async t => {
    const { store, activity, state } = modelLedger()
    const journal = new Journal({
      store,
      calendar,
      now: () => NOON,
      everyMs: 1e6,
      onAnswered: () => {},
      onStoreFailure: () => {},
    })
    journal.answered(aTeam(), 'hit', 1)
    state.isDown = true
    await journal.flush()
    journal.answered(aTeam(), 'hit', 1)
    state.isDown = false
    await journal.flush()
    t.match(activity, [{ activity: { requests: 2, hits: 2, savedByCache: 2 } }])
    journal.answered(aTeam(), 'hit', 1)
    Object.assign(state, { isDown: true, mayHaveHappened: true })
    await journal.flush()
    state.isDown = false
    await journal.flush()
    t.equal(activity.length, 1)
  },
)
