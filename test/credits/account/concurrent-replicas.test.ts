import t from 'tap'
import { Account } from '../../../src/credits/account/account.js'
import { CreditLedger } from '../../../src/credits/ledger.js'
import { UnsavedSteps } from '../../../src/credits/unsaved.js'
import { createBudgetCalendar } from '../../../src/credits/windows.js'
import { createMemorySpool } from '../../../src/store/memory-spool.js'
import { memoryRecords } from '../../support/doubles/memory-records.js'
import { modelLedger } from '../../support/doubles/model-ledger.js'
import { randomFrom } from '../../support/random.js'
import { aPlan, NOON, recordingObserver } from '../ledger-world.js'

const CREDIT = 1_000_000_000
const CALLS = 40

/** Two replicas of a gateway over one ledger, and the account behind them, in virtual time. */
function startAccount() {
  const { store, calls } = modelLedger()
  const records = memoryRecords()
  const calendar = createBudgetCalendar('UTC')
  const account = { now: NOON, balance: 10 * CREDIT, events: [] as string[], isSettled: true, waits: [] as number[] }
  const now = () => account.now
  const observer = {
    ...recordingObserver(() => {}),
    accountEventRecorded: ({ kind }: { kind: string }) => void account.events.push(kind),
  }
  const replicas = ['one', 'other'].map(() => {
    const shared = { store, records, calendar, now, observer, isStoreUp: () => true }
    const unsaved = new UnsavedSteps({ ...shared, spool: createMemorySpool(), isSpoolDurable: false, retryMs: 1e6 })
    const replica = new Account({
      ...shared,
      priceEstimate: 2_000_000,
      reserve: 0,
      requestBalance: async () => ({ remaining: account.balance, free: 0 }),
      isSettled: () => account.isSettled,
      later: (work, ms) => {
        account.waits.push(ms)
        work()
      },
    })
    t.teardown(() => unsaved.close())
    const ledger = new CreditLedger({ ...shared, account: replica, unsaved, reserve: 0, whenStoreIsDown: 'closed' })
    return { account: replica, ledger }
  })
  const refresh = async () => {
    for (const { account } of replicas) {
      await account.refresh()
      await account.idle()
    }
  }
  return { account, calls, replicas, refresh }
}

/**
 * Runs overlapping calls of both replicas. Segmind bills each call up to 0.9 s before its answer
 * arrives.
 */
async function runCalls(
  world: ReturnType<typeof startAccount>,
  { seed, costOf, topUp = 0 }: { seed: number; costOf(index: number): number; topUp?: number },
) {
  const { account, replicas } = world
  const random = randomFrom(seed)
  const startsAt = account.now
  const steps: { at: number; run(): Promise<void> | void }[] = []
  for (let index = 0; index < CALLS; index++) {
    const replica = replicas[index % 2] as (typeof replicas)[number]
    let reservation: Awaited<ReturnType<CreditLedger['reserve']>> | undefined
    let remaining = 0
    const cost = costOf(index)
    const beginsAt = index * 200
    const billedAt = beginsAt + 1_200 + random.between(0, 600)
    steps.push({
      at: beginsAt,
      run: async () => {
        reservation = await replica.ledger.reserve(aPlan(`${seed}-${index}`, undefined, { at: account.now }))
      },
    })
    steps.push({
      at: billedAt,
      run: () => {
        account.balance -= cost
        remaining = account.balance
      },
    })
    steps.push({
      at: billedAt + 50 + random.between(0, 850),
      run: async () => {
        await reservation?.settle({ cost, remaining })
        await replica.account.idle()
      },
    })
  }
  steps.push({
    at: 4_000,
    run: () => {
      account.balance += topUp
    },
  })
  for (const { at, run } of steps.sort((one, other) => one.at - other.at)) {
    account.now = startsAt + at
    await run()
  }
}

t.test('a top-up during concurrent calls of two replicas is one top-up, and nothing else', async t => {
  for (let seed = 1; seed <= 25; seed++) {
    const world = startAccount()
    await world.refresh()
    world.account.now += 61_000
    await world.refresh()
    await runCalls(world, { seed, costOf: index => 1_500_000 + ((index * 7_919) % 400_000), topUp: 20 * CREDIT })
    for (let minute = 0; minute < 3; minute++) {
      world.account.now += 61_000
      await world.refresh()
    }
    t.same(world.account.events, ['topUp'], `seed ${seed}`)
    t.equal(world.replicas[0]?.account.drift, 0)
  }
})

t.test('a price that rises thirty times under concurrency is charged and learned', async t => {
  const world = startAccount()
  await world.refresh()
  world.account.now += 61_000
  await world.refresh()
  await runCalls(world, { seed: 1, costOf: () => 51_000_000 })
  const costs = [...world.calls.values()].map(({ settled }) => settled?.cost)
  t.same(costs, Array(CALLS).fill(51_000_000))
  t.notOk(world.account.events.includes('implausible'))
  t.ok((world.replicas[0]?.account.price.current() ?? 0) >= 20_000_000)
})

t.test('the balance states the cost of a call only while the ledger may have the calls of all replicas', async t => {
  const own = 1_700_000
  // A replica that is cut off the store has made another call.
  const withAnother = own + 1_600_000
  for (const [isSettled, drop, expected] of [
    [true, own, own],
    [true, withAnother, 2_000_000],
    [false, own, 2_000_000],
  ] as const) {
    const world = startAccount()
    const { account } = world
    await world.refresh()
    account.isSettled = isSettled
    const reservation = await world.replicas[0]?.ledger.reserve(aPlan('c1', undefined, { at: account.now }))
    account.balance -= drop
    t.equal(await reservation?.settle({ remaining: account.balance }), expected)
  }
})

t.test('each wrong balance of a header is refuted, at the end of the interval at the latest', async t => {
  const { account, replicas, refresh } = startAccount()
  await refresh()
  for (const error of [2, 3]) {
    account.now += 4_000
    const reservation = await replicas[0]?.ledger.reserve(aPlan(`c${error}`, undefined, { at: account.now }))
    account.balance -= 1_700_000
    await reservation?.settle({ cost: 1_700_000, remaining: account.balance - error * CREDIT })
    await replicas[0]?.account.idle()
  }
  t.same(account.events, ['implausible', 'implausible'])
  t.same(account.waits, [6_000])
})
