import t from 'tap'
import { Allowance } from '../../src/credits/allowance.js'
import { createBudgetCalendar } from '../../src/credits/windows.js'
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
    t.same(await allowance.budgets([team, aTeam({ id: 'free' })]), [
      { team: 'vision', window: 'daily', windowName: '2026-11-22', limit: 10, booked: 3, remaining: 7 },
    ])
    isDown = true
    now += 1000
    t.equal(await allowance.remaining(team), undefined)
    t.same(await allowance.budgets([team]), [])
  },
)
