import t from 'tap'
import { Allowance } from '../../src/credits/allowance.js'
import { createBudgetCalendar } from '../../src/credits/windows.js'
import { aTeam } from '../support/doubles/team.js'

const calendar = createBudgetCalendar('UTC')
const NOON = Date.parse('2026-11-22T12:00:00Z')

t.test('the allowance is the least of budgets and balance, never below 0, and absent if nothing is known', async t => {
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
      balance: { latest: balance === undefined ? undefined : { remaining: balance } },
      now: () => NOON,
    })
    t.equal(await allowance.remaining(aTeam(budget ? { budget } : {})), remaining, name)
  }
})

t.test(
  'booked amounts are cached for a second, dropped after a booking, and left out while the store is down',
  async t => {
    let now = NOON
    let reads = 0
    let isDown = false
    const allowance = new Allowance({
      store: {
        booked: async () => {
          reads++
          if (isDown) throw new Error('down')
          return { daily: reads, monthly: reads }
        },
      },
      calendar,
      reserve: 0,
      balance: { latest: undefined },
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
