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

t.test('of two answers whose questions overlapped the lower one counts, unless the other shows a top-up', async t => {
  const { store } = modelLedger()
  const balance = balanceOver({ store, ask: async () => 0, now: () => 100 })
  const hear = async (remaining: number, since: number, at: number) => {
    await balance.record({ remaining, since, at, slack: 10 })
    return balance.latest?.remaining
  }
  t.equal(await hear(50, 0, 10), 50)
  t.equal(await hear(55, 5, 11), 50, 'billed before, answered after')
  t.equal(await hear(45, 5, 12), 45)
  t.equal(await hear(56, 5, 13), 56, 'calls of ours do not explain that')
  t.equal(await hear(60, 13, 14), 60, 'asked after the last answer')
  t.equal(await hear(1, 0, 9), 60, 'older')
})

t.test('how sure the balance is', async t => {
  const { store } = modelLedger()
  let now = 1_000
  const balance = balanceOver({ store, ask: async () => 0, now: () => now })
  t.equal(balance.state, 'unknown')
  await balance.record({ remaining: 5, at: now })
  now += 300_000
  t.equal(balance.state, 'fresh')
  now++
  t.equal(balance.state, 'stale')
})

t.test('the books are compared only with a balance around which nothing was booked for a while', async t => {
  const { store, state } = modelLedger()
  const compared: number[] = []
  let now = 0
  let during = () => {}
  const balance = balanceOver({
    store,
    now: () => now,
    ask: async () => {
      during()
      return 7
    },
    onQuiet: async (_remaining, { sequence }) => void compared.push(sequence),
  })
  const look = async () => {
    now += 60_000
    await balance.refresh()
  }
  await look()
  t.same(compared, [0], 'nothing was ever booked')
  state.sequence = 5
  await look()
  t.same(compared, [0], 'something was booked since the look before: Segmind may not have counted it yet')
  await look()
  t.same(compared, [0, 5])
  during = () => void state.sequence++
  await look()
  t.same(compared, [0, 5], 'something was booked while Segmind was asked')
})

t.test('while credits are short Segmind is asked more often', async t => {
  const { store } = modelLedger()
  let now = 0
  let asked = 0
  let isUrgent = false
  const balance = balanceOver({ store, now: () => now, isUrgent: () => isUrgent, ask: async () => ++asked })
  await balance.refresh()
  now += 15_000
  await balance.refresh()
  t.equal(asked, 1)
  isUrgent = true
  await balance.refresh()
  t.equal(asked, 2)
})
