import t, { type Test } from 'tap'
import { GatewayError } from '../../src/contracts/errors.js'
import { type LedgerStore, StoreError } from '../../src/contracts/store.js'
import { NO_TOTALS } from '../store/suite/samples.js'
import { aCaller } from '../support/doubles/team.js'
import { anEntry, aPlan, gate, ledgerWorld, NOON, type ProcessChanges, quiet, startProcess } from './ledger-world.js'

function books(t: Test, changes: ProcessChanges = {}) {
  const world = ledgerWorld()
  const process = startProcess(world, changes)
  t.teardown(() => process.kill())
  return { world, ...process }
}

const budgeted = aCaller({ budget: { daily: 1e9 } })

t.test('a reservation is written before the call and replaced by its cost', async t => {
  const { ledger, world } = books(t)
  const reservation = await ledger.reserve(aPlan('c1'))
  t.strictSame(world.entries.get('c1'), anEntry('c1'))
  t.equal(await reservation.settle({ cost: 70, remaining: 5, upstreamRequestId: 'u' }), 70)
  t.strictSame(
    world.entries.get('c1'),
    anEntry('c1', {
      state: 'charged',
      settled: { outcome: 'charged', cost: 70, costSource: 'header', settledAt: NOON, upstreamRequestId: 'u' },
    }),
  )
  t.same(world.events, ['vision charged 70', 'balance 5'])
})

t.test('a call is booked in the windows of its planned time, with its purchase kind', async t => {
  const { ledger, world } = books(t)
  const at = Date.parse('2026-10-31T23:59:59.999Z')
  await ledger.reserve(aPlan('c1', aCaller(), { at, purchase: 'takeover' }))
  t.match(world.entries.get('c1'), { at, day: '2026-10-31', month: '2026-10', purchase: 'takeover' })
})

t.test('a call without a reported cost is booked with the estimate', async t => {
  const { ledger, world } = books(t)
  t.equal(await (await ledger.reserve(aPlan('c1'))).settle({}), 100)
  t.match(world.entries.get('c1'), { state: 'charged', settled: { cost: 100, costSource: 'estimate' } })
})

t.test('costOf returns the cost that settle would book, and books nothing', async t => {
  const { ledger, world, price } = books(t)
  const reservation = await ledger.reserve(aPlan('c1'))
  for (let bill = 0; bill < 20; bill++) t.equal(await reservation.costOf({ cost: 7 }), 7)
  t.equal(await reservation.costOf({ remaining: 7 }), 100)
  t.equal(price.current(), 100, 'the price estimate is unchanged')
  t.strictSame(world.entries.get('c1'), anEntry('c1'))
})

t.test('a call is reserved again if the price rose while it waited for its slot', async t => {
  const { ledger, world, price } = books(t)
  const raise = () => {
    for (let call = 0; call < 20; call++) price.learn(700)
  }
  const roomy = aCaller({ budget: { daily: 1_500 } })
  const [one, other, third] = await Promise.all(['c1', 'c2', 'c3'].map(id => ledger.reserve(aPlan(id, roomy))))
  await one?.recheck()
  t.same(world.arrived, ['reserve c1', 'reserve c2', 'reserve c3'], 'the price is the same')
  raise()
  await one?.recheck()
  await other?.recheck().catch(() => t.fail('both together are as large as the budget'))
  t.match(world.entries.get('c1'), { state: 'reserved', estimate: 700 })
  t.ok(ledger.callsInFlight().some(({ callId, estimate }) => callId === 'c1' && estimate === 700))
  await t.rejects(third?.recheck() ?? Promise.resolve(), { code: 'budget_exhausted' })
  t.equal(world.entries.get('c3'), undefined, 'nothing stays reserved')
  t.notOk(ledger.isOwn('c3'))
  await third?.release()
  t.equal(await one?.settle({ cost: 650 }), 650)
  await one?.recheck()
  t.match(world.entries.get('c1'), { state: 'charged', settled: { cost: 650 } })
})

t.test('release removes the entry, unknown keeps it booked', async t => {
  const { ledger, world } = books(t)
  await (await ledger.reserve(aPlan('c1'))).release()
  t.equal(world.entries.size, 0)
  t.equal(world.marks.size, 0)
  await (await ledger.reserve(aPlan('c2'))).unknown()
  t.match(world.entries.get('c2'), { state: 'unknown', settled: { cost: 100, costSource: 'estimate' } })
  t.same(world.events, ['vision unknown 100'])
})

t.test('only the first end of a reservation counts', async t => {
  const { ledger, world } = books(t)
  const reservation = await ledger.reserve(aPlan('c1'))
  await reservation.settle({ cost: 1 })
  await reservation.release()
  await reservation.unknown()
  await reservation.submitted('job')
  t.equal(await reservation.settle({ cost: 99 }), 1)
  t.match(world.entries.get('c1'), { state: 'charged', settled: { cost: 1 } })
  t.same(world.events, ['vision charged 1'])
  t.same(world.arrived, ['reserve c1', 'settle c1'])
})

t.test('an exhausted budget is refused with the window and the seconds until it ends', async t => {
  const { ledger, world } = books(t)
  const daily = aCaller({ budget: { daily: 100 } })
  await ledger.reserve(aPlan('c1', daily))
  await t.rejects(ledger.reserve(aPlan('c2', daily)), {
    code: 'budget_exhausted',
    retryAfterSeconds: 12 * 3600,
    message:
      'Team vision has booked 0.0000001 of its daily budget of 0.0000001 credits, ' +
      'and a call is estimated at 0.0000001.',
  })
  const monthly = aCaller({ id: 'other', budget: { monthly: 1 } })
  await t.rejects(ledger.reserve(aPlan('c3', monthly)), { code: 'budget_exhausted', retryAfterSeconds: 8.5 * 86_400 })
  t.same(world.events, [], 'a refusal is not a store failure')
  t.equal(ledger.isOwn('c1'), true)
  t.equal(ledger.isOwn('c2'), false)
})

t.test('the error of an exhausted budget states that nothing was billed', async t => {
  const { ledger } = books(t)
  const error = await ledger.reserve(aPlan('c1', aCaller({ budget: { daily: 0 } }))).catch((e: unknown) => e)
  t.ok(error instanceof GatewayError && error.billed === 'no')
})

t.test('only a StoreError counts as a store failure', async t => {
  const { ledger, unsaved, world } = books(t)
  world.refuse = () => new TypeError('a bug')
  await t.rejects(ledger.reserve(aPlan('c1')), TypeError)
  t.equal(ledger.isOwn('c1'), false)
  t.equal(unsaved.size, 0)
})

t.test('a refused or lost call may still report the balance', async t => {
  const { ledger, world } = books(t)
  await (await ledger.reserve(aPlan('c1'))).release({ remaining: 100 })
  await (await ledger.reserve(aPlan('c2'))).unknown({ remaining: 90, cost: 5 })
  t.same(world.events, ['balance 100', 'vision unknown 100', 'balance 90'])
  t.match(world.entries.get('c2'), { settled: { cost: 100, costSource: 'estimate' } }, 'booked with the estimate')
})

t.test('while the store is down, the call of a team without a budget is spooled before it is made', async t => {
  const written = gate()
  const world = ledgerWorld()
  const spool = { add: async (step: object) => written.passed.then(() => void Object.assign(world, { kept: step })) }
  const { ledger, kill } = startProcess(world, { spool })
  t.teardown(kill)
  world.storeMode = 'down'
  let isReserved = false
  const reserving = ledger.reserve(aPlan('c1')).then(() => {
    isReserved = true
  })
  await quiet()
  t.equal(isReserved, false, 'the call waits for the spool')
  written.open()
  await reserving
  const { state: _reserved, ...call } = anEntry('c1')
  t.strictSame((world as { kept?: object }).kept, { kind: 'reserve', call })
})

t.test('calls of a process killed while the store is down are written by the next process', async t => {
  const world = ledgerWorld()
  world.storeMode = 'down'
  const first = startProcess(world)
  await first.ledger.reserve(aPlan('c1'))
  const answered = await first.ledger.reserve(aPlan('c2'))
  await answered.settle({ cost: 7 })
  first.kill()
  world.storeMode = 'up'
  world.now += 3_600_000
  const second = startProcess(world)
  t.teardown(() => second.kill())
  await second.unsaved.flush()
  t.match(world.entries.get('c1'), { state: 'reserved', at: NOON })
  t.equal(await second.recovery.sweep(), 1)
  t.match(world.entries.get('c1'), { state: 'unknown', settled: { cost: 100, costSource: 'estimate' } })
  t.match(world.entries.get('c2'), { state: 'charged', settled: { cost: 7 } })
  t.same(world.spooled, [])
})

t.test('BUDGET_FAIL=open lets teams with a budget continue', async t => {
  const { ledger, world } = books(t, { whenStoreIsDown: 'open' })
  world.storeMode = 'down'
  t.ok(await ledger.reserve(aPlan('c1', aCaller({ budget: { daily: 1 } }))))
  t.match(world.spooled, [{ step: { kind: 'reserve' } }])
})

t.test('BUDGET_FAIL=open keeps to the reserve in a lost ledger', async t => {
  const asked: object[] = []
  const store: Partial<LedgerStore> = {
    async reserve(_call, limits) {
      asked.push(limits)
      const window = limits.daily === undefined ? 'floor' : 'lost'
      return { ok: false, window, booked: { daily: 0, monthly: 0 }, totals: NO_TOTALS }
    },
  }
  const changes = { store, reserve: 500 }
  const caller = aCaller({ budget: { daily: 1 } })
  const { ledger } = books(t, { ...changes, whenStoreIsDown: 'open' })
  await t.rejects(ledger.reserve(aPlan('c1', caller)), { code: 'credits_reserved' })
  t.same(asked, [{ daily: 1, floor: 500 }, { floor: 500 }])
  await t.rejects(books(t, changes).ledger.reserve(aPlan('c1', caller)), { code: 'store_unavailable', message: /lost/ })
})

t.test('while the store is down, a team with a budget is refused and its uncertain reservation released', async t => {
  const { ledger, unsaved, world } = books(t)
  world.storeMode = 'frozen'
  await t.rejects(ledger.reserve(aPlan('c1', budgeted)), { code: 'store_unavailable', retryAfterSeconds: 5 })
  t.match(world.spooled, [{ step: { kind: 'release', mayStillArrive: true, call: { callId: 'c1' } } }])
  t.equal(ledger.isOwn('c1'), false)
  world.storeMode = 'up'
  await unsaved.flush()
  world.thaw()
  t.equal(world.entries.size, 0, 'the reservation arrived after its release')
})

t.test('nothing is released if the reservation certainly did not happen', async t => {
  const { ledger, unsaved, world } = books(t)
  world.storeMode = 'down'
  for (let request = 0; request < 100; request++) {
    await t.rejects(ledger.reserve(aPlan(`c${request}`, budgeted)), { code: 'store_unavailable' })
  }
  t.equal(unsaved.size, 0)
})

t.test('a release waits behind its spooled reservation, even if the store is back', async t => {
  const { ledger, unsaved, world } = books(t)
  world.storeMode = 'down'
  const reservation = await ledger.reserve(aPlan('c1'))
  world.storeMode = 'up'
  await reservation.release()
  t.match(world.spooled, [{ step: { kind: 'reserve' } }, { step: { kind: 'release', mayStillArrive: true } }])
  await unsaved.flush()
  t.equal(world.entries.size, 0)
  t.same(world.spooled, [])
})

t.test('a release during the write of its reservation is written after it', async t => {
  const arriving = gate()
  const world = ledgerWorld()
  const { ledger, unsaved, kill } = startProcess(world)
  t.teardown(kill)
  world.storeMode = 'down'
  const reservation = await ledger.reserve(aPlan('c1'))
  world.storeMode = 'up'
  world.pause = () => arriving.passed
  const flushing = unsaved.flush()
  const releasing = reservation.release()
  const flushedAgain = unsaved.flush()
  arriving.open()
  await Promise.all([flushing, releasing, flushedAgain])
  await unsaved.flush()
  t.equal(world.arrived[0], 'note c1')
  t.equal(world.entries.size, 0)
  t.same(world.spooled, [])
})

t.test('a reservation written late by another process does not restore a released call', async t => {
  const world = ledgerWorld()
  world.storeMode = 'down'
  const here = startProcess(world)
  const late = gate()
  const there = startProcess(world, {
    store: {
      note: async call => {
        await late.passed
        return here.store.note(call)
      },
    },
  })
  t.teardown(() => [here.kill(), there.kill()])
  const reservation = await here.ledger.reserve(aPlan('c1'))
  world.storeMode = 'up'
  const flushingThere = there.unsaved.flush()
  await quiet()
  await here.unsaved.flush()
  t.equal(world.entries.size, 1)
  await reservation.release()
  await here.unsaved.flush()
  late.open()
  await flushingThere
  t.equal(world.arrived.at(-1), 'note c1')
  t.equal(world.entries.size, 0)
})

t.test('the job of a call is noted before it is polled, and kept in the ended entry', async t => {
  const { ledger, world } = books(t)
  const reservation = await ledger.reserve(aPlan('c1'))
  await reservation.submitted('job-1')
  t.strictSame(world.entries.get('c1'), anEntry('c1', { jobId: 'job-1' }))
  await reservation.unknown()
  t.match(world.entries.get('c1'), { state: 'unknown', jobId: 'job-1' })
})

t.test('a release is written after the note in progress', async t => {
  const noted = gate()
  const world = ledgerWorld()
  const inner = startProcess(world)
  const note = inner.store.note
  const { ledger, kill } = startProcess(world, { store: { note: call => noted.passed.then(() => note(call)) } })
  t.teardown(() => [inner.kill(), kill()])
  const reservation = await ledger.reserve(aPlan('c1'))
  const ended = [reservation.submitted('job-1'), reservation.release()]
  await quiet()
  noted.open()
  await Promise.all(ended)
  t.same(world.arrived, ['reserve c1', 'note c1', 'release c1'])
  t.equal(world.entries.size, 0)
})

t.test('a note that the store refuses is spooled, and the end of its call behind it', async t => {
  const { ledger, unsaved, world } = books(t)
  const reservation = await ledger.reserve(aPlan('c1'))
  world.storeMode = 'frozen'
  await reservation.submitted('job-1')
  world.storeMode = 'up'
  await reservation.release()
  t.match(world.spooled, [{ step: { kind: 'note' } }, { step: { kind: 'release', mayStillArrive: true } }])
  await unsaved.flush()
  world.thaw()
  t.equal(world.entries.size, 0)
  t.same(world.events, ['failed ledger: note'])
})

t.test('a failing spool does not fail a request', async t => {
  const { ledger, unsaved, world } = books(t)
  world.storeMode = 'down'
  world.isSpoolBroken = true
  const reservation = await ledger.reserve(aPlan('c1'))
  world.isSpoolBroken = false
  t.equal(await reservation.settle({ cost: 7 }), 7)
  t.same(world.events, ['failed ledger: reserve', 'failed ledger: spool', 'vision charged 7'])
  t.equal(unsaved.size, 2)
  t.same(world.spooled, [], 'the second step waits behind the first')
  world.storeMode = 'up'
  await unsaved.flush()
  t.match(world.entries.get('c1'), { state: 'charged', settled: { cost: 7 } })
  t.same(world.arrived, ['note c1', 'settle c1'])
  t.equal(unsaved.size, 0)
})

t.test('find returns the state of an earlier call, and nothing for one that never reserved', async t => {
  const { ledger, world } = books(t)
  const at = Date.parse('2026-10-31T23:59:59.999Z')
  world.entries.set('c1', anEntry('c1', { at, day: '2026-10-31', month: '2026-10', jobId: 'job-1' }))
  t.match(await ledger.find('c1', at), { state: 'reserved', at, team: 'vision', jobId: 'job-1' })
  t.equal(await ledger.find('c1', at + 1), undefined, 'the call is looked up in the window of its planned time')
  t.equal(await ledger.find('c2', at), undefined)
  world.storeMode = 'down'
  await t.rejects(ledger.find('c1', at), StoreError)
})

t.test('find includes steps that are still spooled', async t => {
  const { ledger, world } = books(t)
  world.storeMode = 'down'
  await (await ledger.reserve(aPlan('c1'))).unknown()
  world.storeMode = 'up'
  t.match(await ledger.find('c1', NOON), { state: 'unknown' })
})

t.test('a successor ends the entry of its predecessor', async t => {
  const { ledger, world, price } = books(t)
  for (const callId of ['c1', 'c2', 'c3'])
    world.entries.set(callId, anEntry(callId, { jobId: 'job', purchase: 'takeover' }))
  const find = async (callId: string) => (await ledger.find(callId, NOON))!.reservation
  const first = await find('c1')
  t.equal(await first.costOf({}), 100)
  for (let bill = 0; bill < 9; bill++) price.learn(70)
  t.equal(await first.settle({ cost: 70 }), 70)
  t.equal(price.current(), 70, 'the price estimate includes the cost')
  await (await find('c2')).unknown()
  await (await find('c3')).release()
  t.match(world.entries.get('c1'), {
    state: 'charged',
    jobId: 'job',
    purchase: 'takeover',
    keyId: 'k1',
    settled: { cost: 70 },
  })
  t.match(world.entries.get('c2'), { state: 'unknown', settled: { cost: 100 } })
  t.equal(world.entries.has('c3'), false)
  t.same(world.events, ['vision charged 70', 'vision unknown 100'])
})

t.test('a late step of an earlier leader books nothing after the release of its successor', async t => {
  const { ledger, world } = books(t)
  world.entries.set('c1', anEntry('c1'))
  await (await ledger.find('c1', NOON))!.reservation.release()
  t.ok(world.marks.has('c1'))
})

t.test('a charged call stays charged and is not counted again', async t => {
  const { ledger, world } = books(t)
  await (await ledger.reserve(aPlan('c1'))).settle({ cost: 70 })
  const earlier = await ledger.find('c1', NOON)
  t.equal(earlier?.state, 'charged')
  t.equal(await earlier?.reservation.costOf({ cost: 99 }), 70)
  t.equal(await earlier?.reservation.settle({ cost: 99 }), 70)
  await earlier?.reservation.release()
  t.match(world.entries.get('c1'), { state: 'charged', settled: { cost: 70 } })
  t.same(world.events, ['vision charged 70'])
})

t.test('an unknown call is not counted again, but may still be charged or released', async t => {
  const { ledger, world } = books(t)
  for (const callId of ['c1', 'c2']) await (await ledger.reserve(aPlan(callId))).unknown()
  world.events.splice(0)
  await (await ledger.find('c1', NOON))!.reservation.unknown({ remaining: 5 })
  t.same(world.events, ['balance 5'])
  await (await ledger.find('c1', NOON))!.reservation.settle({ cost: 70 })
  await (await ledger.find('c2', NOON))!.reservation.release()
  t.match(world.entries.get('c1'), { state: 'charged', settled: { cost: 70 } })
  t.equal(world.entries.has('c2'), false)
  t.same(world.events, ['balance 5', 'vision charged 70', ...Array(2).fill('vision no longer unknown 100')])
})

t.test('a call belongs to its process until its end is written', async t => {
  const { ledger, world } = books(t)
  const reservation = await ledger.reserve(aPlan('c1'))
  t.equal(ledger.isOwn('c1'), true)
  t.match(ledger.callsInFlight(), [{ callId: 'c1', team: 'vision', requestId: 'r', resultId: 'k' }])
  const writing = gate()
  world.pause = () => writing.passed
  const ended = reservation.release()
  await quiet()
  t.equal(ledger.isOwn('c1'), true)
  writing.open()
  await ended
  t.equal(ledger.isOwn('c1'), false)
  t.same(ledger.callsInFlight(), [])
})

t.test('wouldRefuse returns the error of a purchase and reserves nothing', async t => {
  const rows: [why: string, budget: { daily?: number; monthly?: number } | undefined, code: string | undefined][] = [
    ['no budget', undefined, undefined],
    ['room for one more', { daily: 200, monthly: 200 }, undefined],
    ['the daily budget is full', { daily: 199, monthly: 1_000 }, 'budget_exhausted'],
    ['the monthly budget is full', { daily: 1_000, monthly: 199 }, 'budget_exhausted'],
  ]
  for (const [why, budget, code] of rows) {
    const { ledger, world } = books(t)
    await ledger.reserve(aPlan('c1'))
    const refusal = await ledger.wouldRefuse(aCaller(budget ? { budget } : {}).team, 1)
    t.equal(refusal?.code, code, why)
    if (code) t.ok((refusal?.retryAfterSeconds ?? 0) > 0)
    t.equal(world.entries.size, 1)
  }
  const { ledger, world } = books(t, { store: { booked: async () => Promise.reject(new StoreError('down')) } })
  t.equal((await ledger.wouldRefuse(budgeted.team, 1))?.code, 'store_unavailable')
  t.equal(await ledger.wouldRefuse(aCaller().team, 1), undefined, 'a team without a budget is not refused')
  t.equal(world.entries.size, 0)
})
