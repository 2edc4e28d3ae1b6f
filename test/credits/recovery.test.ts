import t, { type Test } from 'tap'
import { type LedgerEntry, StoreError } from '../../src/contracts/store.js'
import {
  anEntry,
  aPlan,
  gate,
  ledgerWorld,
  NOON,
  ORPHAN_AFTER_MS,
  type ProcessChanges,
  quiet,
  startProcess,
  until,
} from './ledger-world.js'

const LONG_AFTER = NOON + ORPHAN_AFTER_MS

function sweeper(t: Test, changes: ProcessChanges = {}) {
  const world = ledgerWorld()
  world.now = LONG_AFTER
  const process = startProcess(world, changes)
  t.teardown(() => process.kill())
  return { world, ...process }
}

t.test('an orphaned entry is ended as unknown with its estimate', async t => {
  const { recovery, world } = sweeper(t)
  world.entries.set('c1', anEntry('c1'))
  world.entries.set('c2', anEntry('c2', { at: NOON + 1 }))
  t.equal(await recovery.sweep(), 1)
  const settled = { outcome: 'unknown' as const, cost: 100, costSource: 'estimate' as const, settledAt: LONG_AFTER }
  t.strictSame(world.entries.get('c1'), anEntry('c1', { state: 'unknown', settled }))
  t.equal(world.entries.get('c2')?.state, 'reserved', 'its process may still be alive')
  t.same(world.events, ['vision unknown 100', 'orphan c1 unknown'])
  t.equal(await recovery.sweep(), 0)
})

t.test('a call in flight in this process is never swept', async t => {
  const { ledger, recovery, world } = sweeper(t)
  const reservation = await ledger.reserve(aPlan('c1'))
  t.equal(await recovery.sweep(), 0)
  t.equal(world.entries.get('c1')?.state, 'reserved')
  await reservation.settle({ cost: 7 })
  t.match(world.entries.get('c1'), { state: 'charged' })
})

t.test('a call whose end is spooled is not swept', async t => {
  const { ledger, recovery, world } = sweeper(t)
  const reservation = await ledger.reserve(aPlan('c1'))
  world.refuse = kind => (kind === 'settle' ? new StoreError('full') : undefined)
  await reservation.settle({ cost: 7 })
  t.equal(await recovery.sweep(), 0)
  world.refuse = () => undefined
  t.equal(await recovery.sweep(), 0)
  t.match(world.entries.get('c1'), { state: 'charged', settled: { cost: 7 } })
  t.notOk(world.events.includes('vision unknown 100'))
})

t.test('a call that ends during the sweep is not swept', async t => {
  const world = ledgerWorld()
  world.now = LONG_AFTER
  const owner = startProcess(world)
  const reservation = await owner.ledger.reserve(aPlan('c1'))
  const { store } = owner
  const sweeping = startProcess(world, {
    store: {
      reservedBefore: async (before, limit) => {
        const open = await store.reservedBefore(before, limit)
        await reservation.release()
        return open
      },
    },
  })
  t.teardown(() => [owner.kill(), sweeping.kill()])
  t.equal(await sweeping.recovery.sweep(), 0)
  t.equal(world.entries.size, 0)
  t.same(world.events, [])
})

t.test('two replicas that sweep at once count an orphan once', async t => {
  const world = ledgerWorld()
  world.now = LONG_AFTER
  world.entries.set('c1', anEntry('c1'))
  const one = startProcess(world)
  const oneHasSwept = gate()
  let reads = 0
  const other = startProcess(world, {
    clockAheadMs: 1,
    store: {
      entry: async (day, callId) => {
        const entry = await one.store.entry(day, callId)
        if (++reads === 1) await oneHasSwept.passed
        return entry
      },
    },
  })
  t.teardown(() => [one.kill(), other.kill()])
  const sweeping = other.recovery.sweep()
  await until(() => reads === 1)
  t.equal(await one.recovery.sweep(), 1)
  oneHasSwept.open()
  t.equal(await sweeping, 0)
  t.equal(reads, 2, 'the second replica had read the entry as reserved')
  t.same(world.events, ['vision unknown 100', 'orphan c1 unknown'])
})

t.test('the late end of a slow process replaces the end of the sweep', async t => {
  const world = ledgerWorld()
  const slow = startProcess(world)
  const charged = await slow.ledger.reserve(aPlan('c1'))
  const released = await slow.ledger.reserve(aPlan('c2'))
  world.now = LONG_AFTER
  const sweeping = startProcess(world)
  t.teardown(() => [slow.kill(), sweeping.kill()])
  t.equal(await sweeping.recovery.sweep(), 2)
  await charged.settle({ cost: 7 })
  await released.release()
  t.match(world.entries.get('c1'), { state: 'charged', settled: { cost: 7 } })
  t.equal(world.entries.has('c2'), false)
})

t.test('an entry with a job is resumed while Segmind keeps the job, then ended as unknown', async t => {
  const resumed: string[] = []
  const { recovery, world } = sweeper(t, { resume: async ({ callId }) => void resumed.push(callId) })
  world.entries.set('c1', anEntry('c1', { jobId: 'job-1' }))
  t.equal(await recovery.sweep(), 1)
  await quiet()
  t.same(resumed, ['c1'])
  t.same(world.events, [], 'the job is still running')
  world.now = NOON + 55 * 60_000 - 1
  await recovery.sweep()
  await quiet()
  t.same(resumed, ['c1', 'c1'], 'the entry has not ended, so it is resumed again')
  world.now = NOON + 55 * 60_000
  t.equal(await recovery.sweep(), 1)
  t.same(resumed, ['c1', 'c1'])
  t.match(world.entries.get('c1'), { state: 'unknown', jobId: 'job-1' })
})

t.test('a resumed call is ended through the ledger', async t => {
  const resume = async ({ callId, at }: LedgerEntry) => {
    await (await process.ledger.find(callId, at))?.reservation.settle({ cost: 7 })
  }
  const process = sweeper(t, { resume })
  process.world.entries.set('c1', anEntry('c1', { jobId: 'job-1' }))
  await process.recovery.sweep()
  await quiet()
  t.match(process.world.entries.get('c1'), { state: 'charged', jobId: 'job-1', settled: { cost: 7 } })
  t.same(process.world.events, ['vision charged 7', 'orphan c1 resumed'])
})

t.test('a bounded number of jobs is polled at once, each once, and the sweep does not wait for them', async t => {
  const polling = new Map<string, () => void>()
  const resume = ({ callId }: LedgerEntry) =>
    new Promise<void>(resolve => {
      t.notOk(polling.has(callId))
      polling.set(callId, () => {
        world.entries.delete(callId)
        resolve()
      })
    })
  const { recovery, world } = sweeper(t, { resume })
  for (let job = 1; job <= 6; job++) world.entries.set(`c${job}`, anEntry(`c${job}`, { jobId: `job-${job}` }))
  world.entries.set('c7', anEntry('c7'))
  t.equal(await recovery.sweep(), 5)
  t.same([...polling.keys()], ['c1', 'c2', 'c3', 'c4'])
  t.equal(world.entries.get('c7')?.state, 'unknown', 'entries without a job do not wait')
  t.equal(await recovery.sweep(), 0)
  polling.get('c2')?.()
  await quiet()
  t.equal(await recovery.sweep(), 1)
  t.same([...polling.keys()], ['c1', 'c2', 'c3', 'c4', 'c5'])
})

t.test('a resume that rejects is reported and repeated by the next sweep', async t => {
  let attempts = 0
  const resume = async () => {
    attempts++
    throw new StoreError('down')
  }
  const { recovery, world } = sweeper(t, { resume })
  world.entries.set('c1', anEntry('c1', { jobId: 'job-1' }))
  await recovery.sweep()
  await quiet()
  await recovery.sweep()
  await quiet()
  t.equal(attempts, 2)
  t.same(world.events, ['failed orphans: resume', 'failed orphans: resume'])
})

t.test('a sweep never rejects, and continues after an entry that the store refuses', async t => {
  const { recovery, world } = sweeper(t)
  world.storeMode = 'down'
  t.equal(await recovery.sweep(), 0)
  t.same(world.events.splice(0), ['failed orphans: sweep'])
  world.storeMode = 'up'
  world.entries.set('c1', anEntry('c1'))
  world.entries.set('c2', anEntry('c2'))
  world.refuse = (kind, callId) => (kind === 'settle' && callId === 'c1' ? new RangeError('no amount') : undefined)
  t.equal(await recovery.sweep(), 1)
  t.same(world.events, ['failed orphans: sweep', 'vision unknown 100', 'orphan c2 unknown'])
})

t.test('concurrent sweeps share one run', async t => {
  const { recovery, world } = sweeper(t)
  world.entries.set('c1', anEntry('c1'))
  t.same(await Promise.all([recovery.sweep(), recovery.sweep()]), [1, 1])
  t.same(world.events, ['vision unknown 100', 'orphan c1 unknown'])
})

t.test('recovery sweeps at the start and at every interval until it is closed', async t => {
  const world = ledgerWorld()
  const sweeps = { one: 0, other: 0 }
  const counting = (name: 'one' | 'other') => {
    const open = async () => {
      sweeps[name]++
      return []
    }
    return startProcess(world, { store: { reservedBefore: open } })
  }
  const [one, other] = [counting('one'), counting('other')]
  t.teardown(() => [one.kill(), other.kill()])
  one.recovery.start()
  other.recovery.start()
  await quiet()
  // On a busy machine the next sweep may have started already.
  t.ok(sweeps.one >= 1 && sweeps.other >= 1)
  await until(() => sweeps.one > 3)
  await one.recovery.close()
  Object.assign(sweeps, { one: 0, other: 0 })
  await until(() => sweeps.other > 5)
  t.equal(sweeps.one, 0)
})

t.test('close starts no more work', async t => {
  const { recovery, world } = sweeper(t)
  world.entries.set('c1', anEntry('c1'))
  world.entries.set('c2', anEntry('c2'))
  const writing = gate()
  world.refuse = kind => {
    if (kind === 'settle') world.pause = () => writing.passed
    return undefined
  }
  const sweeping = recovery.sweep()
  await quiet()
  const closed = recovery.close()
  writing.open()
  await closed
  t.equal(await sweeping, 1)
  t.equal(world.entries.get('c2')?.state, 'reserved')
})
