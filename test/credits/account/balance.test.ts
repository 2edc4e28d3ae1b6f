import t from 'tap'
import { Balance, type BalanceOptions } from '../../../src/credits/account/balance.js'
import { modelLedger } from '../../support/model-ledger.js'

function balanceOver(options: Partial<BalanceOptions> & Pick<BalanceOptions, 'store' | 'ask' | 'now'>) {
  return new Balance({
    isUrgent: () => false,
    slack: () => 0,
    onSample: () => {},
    onQuiet: async () => {},
    onAskFailure: () => {},
    onShareFailure: () => {},
    ...options,
  })
}

t.test('unknown until Segmind has said something, then the newest sample, shared with all replicas', async t => {
  const { store, state } = modelLedger()
  let now = 1000
  const balance = balanceOver({
    store,
    now: () => now,
    ask: async () => 7,
    onAskFailure: () => {},
    onShareFailure: () => {},
  })
  t.equal(balance.latest, undefined)
  await balance.record({ remaining: 50, at: 1000 })
  t.same(balance.latest, { remaining: 50, at: 1000 })
  t.same(state.balance, { remaining: 50, at: 1000 })
  now = 2000
  state.balance = { remaining: 40, at: 1500 }
  await balance.refresh()
  t.same(balance.latest, { remaining: 40, at: 1500 }, 'another replica knew better; Segmind was not asked')
  now = 1500 + 60_000
  await balance.refresh()
  t.same(balance.latest, { remaining: 7, at: now }, 'everybody had old knowledge; Segmind was asked')
})

t.test('a failure leaves what was known, and is told', async t => {
  const { store, state } = modelLedger()
  const told: string[] = []
  const balance = balanceOver({
    store,
    now: () => 1e6,
    ask: async () => Promise.reject(new Error('no')),
    onAskFailure: () => told.push('ask'),
    onShareFailure: () => told.push('share'),
  })
  state.isDown = true
  await balance.refresh()
  t.equal(balance.latest, undefined)
  await balance.record({ remaining: 5, at: 1e6 })
  t.match(balance.latest, { remaining: 5 })
  t.same(told, ['share', 'share', 'ask', 'share'])
})

t.test('a sample of a clock that was wrong does not hide what comes after it', async t => {
  const { store, state } = modelLedger()
  let asked = 0
  const balance = balanceOver({
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
