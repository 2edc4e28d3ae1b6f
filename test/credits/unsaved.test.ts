import t, { type Test } from 'tap'
import type { CallEntry, LedgerStep } from '../../src/contracts/store.js'
import { StoreError } from '../../src/contracts/store.js'
import { anEntry, gate, ledgerWorld, NOON, type ProcessChanges, startProcess, until } from './ledger-world.js'

function spooler(t: Test, changes: ProcessChanges = {}) {
  const world = ledgerWorld()
  const process = startProcess(world, changes)
  t.teardown(() => process.kill())
  return { world, ...process }
}

function callOf(callId: string): CallEntry {
  const { state: _reserved, ...call } = anEntry(callId)
  return call
}

const reserve = (callId: string): LedgerStep => ({ kind: 'reserve', call: callOf(callId) })
const release = (callId: string): LedgerStep => ({ kind: 'release', call: callOf(callId), mayStillArrive: false })
const charge = (callId: string, cost: number): LedgerStep => ({
  kind: 'settle',
  call: callOf(callId),
  settled: { outcome: 'charged', cost, costSource: 'header', settledAt: NOON },
})

t.test('steps are written in order once the store is up, and not tried before', async t => {
  const { unsaved, world } = spooler(t)
  world.storeMode = 'down'
  for (const step of [reserve('a'), reserve('b'), charge('a', 5), release('b')]) await unsaved.add(step)
  await unsaved.flush()
  t.equal(unsaved.size, 4)
  t.same(world.events, [])
  world.storeMode = 'up'
  await unsaved.flush()
  t.same(world.arrived, ['note a', 'note b', 'settle a', 'release b'])
  t.equal(unsaved.size, 0)
  t.same([...world.entries.keys()], ['a'])
})

t.test('a failed step delays the later steps of its call, and no others', async t => {
  const { unsaved, world } = spooler(t)
  for (const step of [reserve('a'), reserve('b'), charge('a', 5)]) await unsaved.add(step)
  world.refuse = (kind, callId) => (`${kind} ${callId}` === 'note a' ? new StoreError('full') : undefined)
  await unsaved.flush()
  t.same(world.arrived, ['note b'])
  t.same(world.events, ['failed ledger: write again'])
  world.refuse = () => undefined
  await unsaved.flush()
  t.same(world.arrived, ['note b', 'note a', 'settle a'])
})

t.test('a step that cannot be removed from the spool delays the later steps of its call', async t => {
  const world = ledgerWorld()
  const inner = startProcess(world)
  let isStuck = true
  const remove = async (id: string) => {
    if (isStuck) throw new Error('no disk')
    await inner.spool.remove(id)
  }
  const { unsaved, kill } = startProcess(world, { spool: { remove } })
  t.teardown(() => [inner.kill(), kill()])
  for (const step of [reserve('a'), release('a')]) await unsaved.add(step)
  await unsaved.flush()
  t.same(world.arrived, ['note a'])
  isStuck = false
  await unsaved.flush()
  t.same(world.arrived, ['note a', 'note a', 'release a'])
  t.equal(world.entries.size, 0)
})

t.test('a flush tries all steps added before it, even if another flush is in progress', async t => {
  const { unsaved, world } = spooler(t)
  const slow = gate()
  await unsaved.add(reserve('a'))
  world.pause = () => slow.passed
  const first = unsaved.flush()
  world.pause = async () => {}
  await unsaved.add(reserve('b'))
  const second = unsaved.flush()
  t.equal(unsaved.flush(), second, 'concurrent flushes share one further run')
  slow.open()
  await Promise.all([first, second])
  t.same([...world.entries.keys()], ['a', 'b'])
})

t.test('a step that the store keeps refusing is dropped in the end', async t => {
  const { unsaved, world } = spooler(t)
  for (const step of [reserve('a'), charge('a', 5)]) await unsaved.add(step)
  world.refuse = kind => (kind === 'note' ? new RangeError('no amount') : undefined)
  for (let attempt = 1; attempt < 20; attempt++) await unsaved.flush()
  t.equal(unsaved.size, 2)
  t.notOk(world.events.includes('lost reserve a'))
  await unsaved.flush()
  t.equal(world.events.at(-1), 'lost reserve a')
  await unsaved.flush()
  t.match(world.entries.get('a'), { state: 'charged' }, 'the later step of the call is written')
  t.equal(unsaved.size, 0)
})

t.test('no step is dropped while the store refuses all of its kind', async t => {
  const { unsaved, world } = spooler(t)
  for (const step of [reserve('a'), reserve('b')]) await unsaved.add(step)
  world.refuse = () => new StoreError('full', { mayHaveHappened: false })
  for (let attempt = 0; attempt < 50; attempt++) await unsaved.flush()
  t.equal(unsaved.size, 2)
  world.refuse = (_kind, callId) => (callId === 'a' ? new StoreError('wrong type') : undefined)
  for (let attempt = 0; attempt < 20; attempt++) {
    await unsaved.add(reserve(`other ${attempt}`))
    await unsaved.flush()
  }
  t.equal(world.events.at(-1), 'lost reserve a', 'dropped once the store accepts others but not this one')
  t.equal(unsaved.size, 0)
})

t.test('refusals while the store is down do not count', async t => {
  const { unsaved, world } = spooler(t)
  await unsaved.add(reserve('a'))
  world.refuse = () => {
    world.storeMode = 'down'
    return new RangeError('went down')
  }
  for (let attempt = 0; attempt < 50; attempt++) {
    world.storeMode = 'up'
    await unsaved.flush()
  }
  t.equal(unsaved.size, 1)
})

t.test('steps of an earlier process are found and written', async t => {
  const { unsaved, world } = spooler(t)
  world.spooled.push({ id: 'x', step: reserve('a') })
  world.storeMode = 'down'
  await unsaved.flush()
  t.equal(unsaved.size, 1)
  t.same(await unsaved.callIds(), new Set(['a']))
  world.storeMode = 'up'
  await unsaved.flush()
  t.equal(unsaved.size, 0)
  t.ok(world.entries.has('a'))
})

t.test('steps are retried automatically once the store is back', async t => {
  const { unsaved, world } = spooler(t, { retryMs: 1 })
  world.storeMode = 'down'
  await unsaved.add(reserve('a'))
  world.storeMode = 'up'
  await until(() => unsaved.size === 0)
  t.ok(world.entries.has('a'))
})

t.test('close tries once more, and counts steps on disk and lost ones separately', async t => {
  for (const isSpoolDurable of [true, false]) {
    const { unsaved, world } = spooler(t, { isSpoolDurable })
    await unsaved.add(reserve('a'))
    world.refuse = () => new StoreError('full')
    await unsaved.add(reserve('b'))
    world.isSpoolBroken = true
    await unsaved.add(reserve('c'))
    world.isSpoolBroken = false
    t.equal(unsaved.size, 3)
    t.equal(unsaved.volatileSize, isSpoolDurable ? 1 : 3)
    world.refuse = (_kind, callId) => (callId === 'a' ? undefined : new StoreError('full'))
    t.strictSame(await unsaved.close(), isSpoolDurable ? { kept: 1, lost: 1 } : { kept: 0, lost: 2 })
    t.ok(world.entries.has('a'))
  }
})

t.test('a spool that cannot be read does not delay steps in memory', async t => {
  const { unsaved, world } = spooler(t)
  world.isSpoolBroken = true
  await unsaved.add(reserve('a'))
  await unsaved.flush()
  t.ok(world.entries.has('a'))
  t.equal(unsaved.size, 0)
})

t.test('a step that the store will never take is dropped at once, and reported', async t => {
  const { unsaved, world } = spooler(t)
  for (const step of [charge('old', 5), charge('b', 6)]) await unsaved.add(step)
  world.refuse = (_kind, callId) => (callId === 'old' ? new StoreError('rolled up', { isFinal: true }) : undefined)
  await unsaved.flush()
  t.same(world.events, ['failed ledger: write again', 'lost settle old'])
  t.same([...world.entries.keys()], ['b'])
  t.equal(unsaved.size, 0)
})
