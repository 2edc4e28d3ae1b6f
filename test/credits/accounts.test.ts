import t, { type Test } from 'tap'
import { type AccountsOptions, openAccounts } from '../../src/credits/accounts.js'
import { memoryRecords } from '../support/doubles/memory-records.js'
import { aCaller } from '../support/doubles/team.js'
import {
  anEntry,
  aPlan,
  ledgerWorld,
  NOON,
  ORPHAN_AFTER_MS,
  recordingObserver,
  startProcess,
  until,
  type World,
} from './ledger-world.js'

function open(t: Test, world: World, changes: Partial<AccountsOptions> = {}) {
  const { store, spool, kill } = startProcess(world)
  t.teardown(kill)
  const accounts = openAccounts({
    store,
    records: memoryRecords(),
    spool,
    isSpoolDurable: true,
    isStoreUp: () => world.storeMode === 'up',
    orphanAfterMs: ORPHAN_AFTER_MS,
    shareSeconds: 60,
    priceEstimate: 100,
    reserve: 0,
    timeZone: 'UTC',
    whenStoreIsDown: 'closed',
    requestBalance: async () => ({ remaining: 1, free: 0 }),
    now: () => world.now,
    observer: recordingObserver(event => world.events.push(event)),
    ...changes,
  })
  t.teardown(() => accounts.close())
  return accounts
}

t.test('the ledger steps that an earlier process spooled are written at the start', async t => {
  const world = ledgerWorld()
  const { state: _reserved, ...call } = anEntry('c1')
  world.spooled.push({ id: 'x', step: { kind: 'reserve', call } })
  open(t, world)
  await until(() => world.entries.has('c1') && world.spooled.length === 0)
})

t.test('recovery ends orphaned calls, and its bookings show in the allowance', async t => {
  const world = ledgerWorld()
  world.now = NOON + ORPHAN_AFTER_MS
  const accounts = open(t, world)
  const { team } = aCaller({ budget: { daily: 1000 } })
  world.entries.set('c1', anEntry('c1', { jobId: 'job-1' }))
  world.entries.set('c2', anEntry('c2'))
  world.entries.set('c3', anEntry('c3', { team: 'other' }))
  await accounts.account.balance.record({ remaining: 5000, at: world.now })
  t.equal(await accounts.allowance.remaining(team), 800)
  const recovery = accounts.startRecovery(async ({ callId, at }) => {
    await (await accounts.ledger.find(callId, at))?.reservation.settle({ cost: 7 })
  })
  await recovery.sweep()
  await until(() => world.entries.get('c1')?.state === 'charged')
  t.equal(world.entries.get('c2')?.state, 'unknown')
  await until(() => world.events.length === 6)
  t.same(world.events.toSorted(), [
    'orphan c1 resumed',
    'orphan c2 unknown',
    'orphan c3 unknown',
    'other unknown 100',
    'vision charged 7',
    'vision unknown 100',
  ])
  t.equal(await accounts.allowance.remaining(team), 1000 - 107)
})

t.test('calls in flight in this process are not orphans', async t => {
  const world = ledgerWorld()
  world.now = NOON + ORPHAN_AFTER_MS
  const accounts = open(t, world)
  await accounts.ledger.reserve(aPlan('c1'))
  t.equal(await accounts.startRecovery(async () => {}).sweep(), 0)
  t.equal(world.entries.get('c1')?.state, 'reserved')
})

t.test('closing writes the waiting steps and counts those that remain', async t => {
  for (const isSpoolDurable of [true, false]) {
    const world = ledgerWorld()
    const accounts = open(t, world, { isSpoolDurable })
    world.storeMode = 'down'
    await (await accounts.ledger.reserve(aPlan('c1'))).settle({ cost: 7 })
    t.same(await accounts.close(), isSpoolDurable ? { kept: 2, lost: 0 } : { kept: 0, lost: 2 })
    world.storeMode = 'up'
    t.same(await accounts.close(), { kept: 0, lost: 0 })
    t.match(world.entries.get('c1'), { state: 'charged', settled: { cost: 7 } })
  }
})
