import t from 'tap'
import { Allowance } from '../../src/credits/allowance.js'
import { Balance } from '../../src/credits/balance.js'
import { createBudgetCalendar } from '../../src/credits/windows.js'
import { modelLedger } from '../support/model-ledger.js'
import { aTeam } from '../support/team.js'

const calendar = createBudgetCalendar('UTC')
const NOON = Date.parse('2026-11-22T12:00:00Z')

t.test(
  'Balance: unknown until Segmind has said something, then the newest sample, shared with all replicas',
  async t => {
    const { store, state } = modelLedger()
    let now = 1000
    const balance = new Balance({
      store,
      now: () => now,
      ask: async () => 7,
      onAskFailure: () => {},
      onShareFailure: () => {},
    })
    t.equal(balance.latest, undefined)
    await balance.record(50)
    t.same(balance.latest, { remaining: 50, at: 1000 })
    t.same(state.balance, { remaining: 50, at: 1000 })
    now = 2000
    state.balance = { remaining: 40, at: 1500 }
    await balance.refresh()
    t.same(balance.latest, { remaining: 40, at: 1500 }, 'another replica knew better; Segmind was not asked')
    now = 1500 + 60_000
    await balance.refresh()
    t.same(balance.latest, { remaining: 7, at: now }, 'everybody had old knowledge; Segmind was asked')
  },
)

t.test('Balance: a failure leaves what was known, and is told', async t => {
  const { store, state } = modelLedger()
  const told: string[] = []
  const balance = new Balance({
    store,
    now: () => 1e6,
    ask: async () => Promise.reject(new Error('no')),
    onAskFailure: () => told.push('ask'),
    onShareFailure: () => told.push('share'),
  })
  state.isDown = true
  await balance.refresh()
  t.equal(balance.latest, undefined)
  await balance.record(5)
  t.match(balance.latest, { remaining: 5 })
  t.same(told, ['share', 'ask', 'share'])
})

t.test('Balance: a sample of a clock that was wrong does not hide what comes after it', async t => {
  const { store, state } = modelLedger()
  let asked = 0
  const balance = new Balance({
    store,
    now: () => 1e6,
    ask: async () => ++asked,
    onAskFailure: () => {},
    onShareFailure: () => {},
  })
  state.balance = { remaining: 123, at: 1e6 + 60_001 }
  await balance.refresh()
  t.same(balance.latest, { remaining: 1, at: 1e6 }, 'Segmind was asked')
  t.equal(asked, 1)
})

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
