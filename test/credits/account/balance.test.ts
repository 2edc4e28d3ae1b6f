import t from 'tap'
import { Balance, type BalanceOptions } from '../../../src/credits/account/balance.js'
import { modelLedger } from '../../support/doubles/model-ledger.js'

function balanceOver(options: Partial<BalanceOptions> & Pick<BalanceOptions, 'store' | 'requestBalance' | 'now'>) {
  return new Balance({
    isUrgent: () => false,
    slack: () => 0,
    onSample: () => {},
    isPlausible: async () => true,
    onAnswer: async () => {},
    observer: { balanceRequestFailed: () => {}, storeFailed: () => {} },
    ...options,
  })
}

t.test('the balance is unknown until Segmind reports one, then it is the newest sample of all replicas', async t => {
  const { store, state } = modelLedger()
  let now = 1000
  const balance = balanceOver({
    store,
    now: () => now,
    requestBalance: async () => ({ remaining: 7, free: 0 }),
  })
  t.equal(balance.latest, undefined)
  await balance.record({ remaining: 50, at: 1000 })
  t.same(balance.latest, { remaining: 50, at: 1000 })
  t.same(state.balance, { remaining: 50, at: 1000 })
  now = 2000
  state.balance = { remaining: 40, at: 1500 }
  await balance.refresh()
  t.same(balance.latest, { remaining: 40, at: 1500 }, 'another replica has a newer sample, so no balance is requested')
  now = 1500 + 60_000
  await balance.refresh()
  t.same(balance.latest, { remaining: 7, at: now }, 'all samples are old, so the balance is requested')
})

t.test('a failure is reported and leaves the known balance unchanged', async t => {
  const { store, state } = modelLedger()
  const reported: string[] = []
  const balance = balanceOver({
    store,
    now: () => 1e6,
    requestBalance: async () => Promise.reject(new Error('no')),
    observer: {
      balanceRequestFailed: () => void reported.push('request'),
      storeFailed: (_error, operation) => void reported.push(operation),
    },
  })
  state.isDown = true
  await balance.refresh()
  t.equal(balance.latest, undefined)
  await balance.record({ remaining: 5, at: 1e6 })
  t.match(balance.latest, { remaining: 5 })
  t.same(reported, ['balance: share', 'balance: share', 'request', 'balance: share'])
})

t.test('a sample with a timestamp in the future does not hide later samples', async t => {
  const { store, state } = modelLedger()
  let requests = 0
  const balance = balanceOver({
    store,
    now: () => 1e6,
    requestBalance: async () => ({ remaining: ++requests, free: 0 }),
  })
  state.balance = { remaining: 123, at: 1e6 + 60_001 }
  await balance.refresh()
  t.same(balance.latest, { remaining: 1, at: 1e6 }, 'the balance is requested')
  t.equal(requests, 1)
})

t.test('a replica whose clock was ahead requests the balance once its clock is right', async t => {
  const { store } = modelLedger()
  let now = 9e6
  let requests = 0
  const balance = balanceOver({
    store,
    now: () => now,
    requestBalance: async () => ({ remaining: ++requests, free: 0 }),
  })
  await balance.refresh()
  now = 1e6
  t.equal(balance.state, 'stale')
  await balance.refresh()
  t.same(balance.latest, { remaining: 2, at: 1e6 })
  t.equal(balance.state, 'fresh')
})

t.test('of two overlapping samples the lower one is kept, unless the other shows a top-up', async t => {
  const { store } = modelLedger()
  const balance = balanceOver({ store, requestBalance: async () => ({ remaining: 0, free: 0 }), now: () => 100 })
  const record = async (remaining: number, since: number, at: number) => {
    await balance.record({ remaining, since, at, slack: 10 })
    return balance.latest?.remaining
  }
  t.equal(await record(50, 0, 10), 50)
  t.equal(await record(55, 5, 11), 50, 'an earlier state whose response arrived later')
  t.equal(await record(45, 5, 12), 45)
  t.equal(await record(56, 5, 13), 56, 'calls of this gateway cannot explain the difference')
  t.equal(await record(60, 13, 14), 60, 'requested after the last response')
  t.equal(await record(1, 0, 9), 60, 'an older sample is ignored')
})

t.test('a balance is unknown, fresh or stale', async t => {
  const { store } = modelLedger()
  let now = 1_000
  const balance = balanceOver({ store, requestBalance: async () => ({ remaining: 0, free: 0 }), now: () => now })
  t.equal(balance.state, 'unknown')
  await balance.record({ remaining: 5, at: now })
  now += 300_000
  t.equal(balance.state, 'fresh')
  now++
  t.equal(balance.state, 'stale')
})

t.test('the ledger is compared only with a balance from a time without bookings', async t => {
  const { store, state } = modelLedger()
  const compared: number[] = []
  let now = 0
  let during = () => {}
  const balance = balanceOver({
    store,
    now: () => now,
    requestBalance: async () => {
      during()
      return { remaining: 7, free: 0 }
    },
    onAnswer: async ({ totals, overlap }) => void (overlap === 0 && compared.push(totals.sequence)),
  })
  const refresh = async () => {
    now += 60_000
    await balance.refresh()
  }
  await refresh()
  t.same(compared, [0], 'nothing was ever booked')
  state.sequence = 5
  await refresh()
  t.same(compared, [0], 'a booking since the previous refresh may not be in the balance yet')
  await refresh()
  t.same(compared, [0, 5])
  during = () => void state.sequence++
  await refresh()
  t.same(compared, [0, 5], 'a booking happened during the balance request')
})

t.test('the balance is requested more often while credits are low', async t => {
  const { store } = modelLedger()
  let now = 0
  let requests = 0
  let isUrgent = false
  const balance = balanceOver({
    store,
    now: () => now,
    isUrgent: () => isUrgent,
    requestBalance: async () => ({ remaining: ++requests, free: 0 }),
  })
  await balance.refresh()
  now += 15_000
  await balance.refresh()
  t.equal(requests, 1)
  isUrgent = true
  await balance.refresh()
  t.equal(requests, 2)
})
