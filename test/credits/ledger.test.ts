import t, { type Test } from 'tap'
import { GatewayError } from '../../src/errors.js'
import { StoreError } from '../../src/storage.js'
import { aCaller } from '../support/team.js'
import { anEntry, aPlan, gate, ledgerWorld, NOON, type ProcessChanges, quiet, startProcess } from './ledger-world.js'

function books(t: Test, changes: ProcessChanges = {}) {
  const world = ledgerWorld()
  const process = startProcess(world, changes)
  t.teardown(() => process.kill())
  return { world, ...process }
}

const budgeted = aCaller({ budget: { daily: 1e9 } })

t.test('a reservation is written before the call, and replaced by what it cost', async t => {
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
  t.same(world.said, ['vision charged 70', 'balance 5'])
})

t.test('a call is booked in the windows of the time it was planned at, with why it was bought', async t => {
  const { ledger, world } = books(t)
  const at = Date.parse('2026-10-31T23:59:59.999Z')
  await ledger.reserve(aPlan('c1', aCaller(), { at, purchase: 'takeover' }))
  t.match(world.entries.get('c1'), { at, day: '2026-10-31', month: '2026-10', purchase: 'takeover' })
})

t.test('an answer that does not say what it cost is booked with the estimate', async t => {
  const { ledger, world } = books(t)
  t.equal(await (await ledger.reserve(aPlan('c1'))).settle({}), 100)
  t.match(world.entries.get('c1'), { state: 'charged', settled: { cost: 100, costSource: 'estimate' } })
})

t.test('costOf says what settle would book, and books nothing', async t => {
  const { ledger, world, price } = books(t)
  const reservation = await ledger.reserve(aPlan('c1'))
  for (let bill = 0; bill < 20; bill++) t.equal(await reservation.costOf({ cost: 7 }), 7)
  t.equal(await reservation.costOf({ remaining: 7 }), 100)
  t.equal(price.current(), 100, 'nothing is learned')
  t.strictSame(world.entries.get('c1'), anEntry('c1'))
})

t.test('release takes it out, unknown leaves it booked', async t => {
  const { ledger, world } = books(t)
  await (await ledger.reserve(aPlan('c1'))).release()
  t.equal(world.entries.size, 0)
  t.equal(world.marks.size, 0)
  await (await ledger.reserve(aPlan('c2'))).unknown()
  t.match(world.entries.get('c2'), { state: 'unknown', settled: { cost: 100, costSource: 'estimate' } })
  t.same(world.said, ['vision unknown 100'])
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
  t.same(world.said, ['vision charged 1'])
  t.same(world.arrived, ['reserve c1', 'settle c1'])
})

t.test('a spent budget is refused with the window, and with the seconds until it ends', async t => {
  const { ledger, world } = books(t)
  const daily = aCaller({ budget: { daily: 100 } })
  await ledger.reserve(aPlan('c1', daily))
  await t.rejects(ledger.reserve(aPlan('c2', daily)), {
    code: 'budget_exhausted',
    retryAfterSeconds: 12 * 3600,
    message: 'Team vision has booked 0.0000001 of its daily budget of 0.0000001 credits.',
  })
  const monthly = aCaller({ id: 'other', budget: { monthly: 1 } })
  await t.rejects(ledger.reserve(aPlan('c3', monthly)), { code: 'budget_exhausted', retryAfterSeconds: 8.5 * 86_400 })
  t.same(world.said, [], 'that is no failure of the store')
  t.equal(ledger.isOwn('c1'), true)
  t.equal(ledger.isOwn('c2'), false)
})

t.test('GatewayError of an exhausted budget says that nothing was billed', async t => {
  const { ledger } = books(t)
  const error = await ledger.reserve(aPlan('c1', aCaller({ budget: { daily: 0 } }))).catch((e: unknown) => e)
  t.ok(error instanceof GatewayError && error.billed === 'no')
})

t.test('an error that is not the store being down is not taken for one', async t => {
  const { ledger, unsaved, world } = books(t)
  world.refuse = () => new TypeError('a bug')
  await t.rejects(ledger.reserve(aPlan('c1')), TypeError)
  t.equal(ledger.isOwn('c1'), false)
  t.equal(unsaved.size, 0)
})

t.test('a refused or lost call may still say what the account holds', async t => {
  const { ledger, world } = books(t)
  await (await ledger.reserve(aPlan('c1'))).release({ remaining: 100 })
  await (await ledger.reserve(aPlan('c2'))).unknown({ remaining: 90, cost: 5 })
  t.same(world.said, ['balance 100', 'vision unknown 100', 'balance 90'])
  t.match(world.entries.get('c2'), { settled: { cost: 100, costSource: 'estimate' } }, 'booked with the estimate')
})

t.test('with the store down, a call without a budget is written down before it is made', async t => {
  const written = gate()
  const world = ledgerWorld()
  const spool = { add: async (step: object) => written.passed.then(() => void Object.assign(world, { kept: step })) }
  const { ledger, kill } = startProcess(world, { spool })
  t.teardown(kill)
  world.weather = 'down'
  let isReserved = false
  const reserving = ledger.reserve(aPlan('c1')).then(() => {
    isReserved = true
  })
  await quiet()
  t.equal(isReserved, false, 'the call waits for the disk')
  written.open()
  await reserving
  const { state: _reserved, ...call } = anEntry('c1')
  t.strictSame((world as { kept?: object }).kept, { kind: 'reserve', call })
})

t.test('a process that is killed while the store is down leaves its calls to the next one', async t => {
  const world = ledgerWorld()
  world.weather = 'down'
  const first = startProcess(world)
  await first.ledger.reserve(aPlan('c1'))
  const answered = await first.ledger.reserve(aPlan('c2'))
  await answered.settle({ cost: 7 })
  first.kill()
  world.weather = 'up'
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

t.test('BUDGET_FAIL=open lets budgeted teams go on', async t => {
  const { ledger, world } = books(t, { whenStoreIsDown: 'open' })
  world.weather = 'down'
  t.ok(await ledger.reserve(aPlan('c1', aCaller({ budget: { daily: 1 } }))))
  t.match(world.spooled, [{ step: { kind: 'reserve' } }])
})

t.test(
  'with the store down, a team with a budget is refused, and what may have been reserved is taken back',
  async t => {
    const { ledger, unsaved, world } = books(t)
    world.weather = 'frozen'
    await t.rejects(ledger.reserve(aPlan('c1', budgeted)), { code: 'store_unavailable', retryAfterSeconds: 5 })
    t.match(world.spooled, [{ step: { kind: 'release', mayStillArrive: true, call: { callId: 'c1' } } }])
    t.equal(ledger.isOwn('c1'), false)
    world.weather = 'up'
    await unsaved.flush()
    world.thaw()
    t.equal(world.entries.size, 0, 'the reservation came after its release')
  },
)

t.test('a refusal while the store surely did nothing leaves nothing to take back', async t => {
  const { ledger, unsaved, world } = books(t)
  world.weather = 'down'
  for (let request = 0; request < 100; request++) {
    await t.rejects(ledger.reserve(aPlan(`c${request}`, budgeted)), { code: 'store_unavailable' })
  }
  t.equal(unsaved.size, 0)
})

t.test('a release waits behind its own reservation, though the store is back meanwhile', async t => {
  const { ledger, unsaved, world } = books(t)
  world.weather = 'down'
  const reservation = await ledger.reserve(aPlan('c1'))
  world.weather = 'up'
  await reservation.release()
  t.match(world.spooled, [{ step: { kind: 'reserve' } }, { step: { kind: 'release', mayStillArrive: true } }])
  await unsaved.flush()
  t.equal(world.entries.size, 0)
  t.same(world.spooled, [])
})

t.test('a release that comes while its reservation is being written is written after it', async t => {
  const arriving = gate()
  const world = ledgerWorld()
  const { ledger, unsaved, kill } = startProcess(world)
  t.teardown(kill)
  world.weather = 'down'
  const reservation = await ledger.reserve(aPlan('c1'))
  world.weather = 'up'
  world.pause = () => arriving.passed
  const flushing = unsaved.flush()
  const releasing = reservation.release()
  const flushedAgain = unsaved.flush()
  arriving.open()
  await Promise.all([flushing, releasing, flushedAgain])
  await unsaved.flush()
  t.equal(world.arrived[0], 'reserve c1')
  t.equal(world.entries.size, 0)
  t.same(world.spooled, [])
})

t.test('a reservation that another process brings late does not come back to life', async t => {
  const world = ledgerWorld()
  world.weather = 'down'
  const here = startProcess(world)
  const late = gate()
  const there = startProcess(world, {
    store: {
      reserve: async (call, limits) => {
        await late.passed
        return here.store.reserve(call, limits)
      },
    },
  })
  t.teardown(() => [here.kill(), there.kill()])
  const reservation = await here.ledger.reserve(aPlan('c1'))
  world.weather = 'up'
  const flushingThere = there.unsaved.flush()
  await quiet()
  await here.unsaved.flush()
  t.equal(world.entries.size, 1)
  await reservation.release()
  await here.unsaved.flush()
  late.open()
  await flushingThere
  t.equal(world.arrived.at(-1), 'reserve c1')
  t.equal(world.entries.size, 0)
})

t.test('the job of a call is noted before it is polled, and stays known when it ends', async t => {
  const { ledger, world } = books(t)
  const reservation = await ledger.reserve(aPlan('c1'))
  await reservation.submitted('job-1')
  t.strictSame(world.entries.get('c1'), anEntry('c1', { jobId: 'job-1' }))
  await reservation.unknown()
  t.match(world.entries.get('c1'), { state: 'unknown', jobId: 'job-1' })
})

t.test('a release is written after the note that is on its way', async t => {
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

t.test('a note the store does not take waits, and the end of its call behind it', async t => {
  const { ledger, unsaved, world } = books(t)
  const reservation = await ledger.reserve(aPlan('c1'))
  world.weather = 'frozen'
  await reservation.submitted('job-1')
  world.weather = 'up'
  await reservation.release()
  t.match(world.spooled, [{ step: { kind: 'note' } }, { step: { kind: 'release', mayStillArrive: true } }])
  await unsaved.flush()
  world.thaw()
  t.equal(world.entries.size, 0)
  t.same(world.said, ['failed note'])
})

t.test('a spool that fails keeps no request from its answer', async t => {
  const { ledger, unsaved, world } = books(t)
  world.weather = 'down'
  world.isSpoolBroken = true
  const reservation = await ledger.reserve(aPlan('c1'))
  world.isSpoolBroken = false
  t.equal(await reservation.settle({ cost: 7 }), 7)
  t.same(world.said, ['failed reserve', 'failed spool', 'vision charged 7'])
  t.equal(unsaved.size, 2)
  t.same(world.spooled, [], 'the second waits behind the first')
  world.weather = 'up'
  await unsaved.flush()
  t.match(world.entries.get('c1'), { state: 'charged', settled: { cost: 7 } })
  t.same(world.arrived, ['reserve c1', 'settle c1'])
  t.equal(unsaved.size, 0)
})

t.test('find tells how an earlier call stands, and nothing of one that never reserved', async t => {
  const { ledger, world } = books(t)
  const at = Date.parse('2026-10-31T23:59:59.999Z')
  world.entries.set('c1', anEntry('c1', { at, day: '2026-10-31', month: '2026-10', jobId: 'job-1' }))
  t.match(await ledger.find('c1', at), { state: 'reserved', at, team: 'vision', jobId: 'job-1' })
  t.equal(await ledger.find('c1', at + 1), undefined, 'it is looked for in the windows it was planned in')
  t.equal(await ledger.find('c2', at), undefined)
  world.weather = 'down'
  await t.rejects(ledger.find('c1', at), StoreError)
})

t.test('find sees what still waits to be written', async t => {
  const { ledger, world } = books(t)
  world.weather = 'down'
  await (await ledger.reserve(aPlan('c1'))).unknown()
  world.weather = 'up'
  t.match(await ledger.find('c1', NOON), { state: 'unknown' })
})

t.test('a successor ends the entry of the one before it', async t => {
  const { ledger, world, price } = books(t)
  for (const callId of ['c1', 'c2', 'c3'])
    world.entries.set(callId, anEntry(callId, { jobId: 'job', purchase: 'takeover' }))
  const find = async (callId: string) => (await ledger.find(callId, NOON))!.reservation
  const first = await find('c1')
  t.equal(await first.costOf({}), 100)
  for (let bill = 0; bill < 9; bill++) price.learn(70)
  t.equal(await first.settle({ cost: 70 }), 70)
  t.equal(price.current(), 70, 'the price is learned')
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
  t.same(world.said, ['vision charged 70', 'vision unknown 100'])
})

t.test('what an earlier holder has sent does not come after the release of its successor', async t => {
  const { ledger, world } = books(t)
  world.entries.set('c1', anEntry('c1'))
  await (await ledger.find('c1', NOON))!.reservation.release()
  t.ok(world.marks.has('c1'))
})

t.test('a call that is charged stays so, and is not counted again', async t => {
  const { ledger, world } = books(t)
  await (await ledger.reserve(aPlan('c1'))).settle({ cost: 70 })
  const earlier = await ledger.find('c1', NOON)
  t.equal(earlier?.state, 'charged')
  t.equal(await earlier?.reservation.costOf({ cost: 99 }), 70)
  t.equal(await earlier?.reservation.settle({ cost: 99 }), 70)
  await earlier?.reservation.release()
  t.match(world.entries.get('c1'), { state: 'charged', settled: { cost: 70 } })
  t.same(world.said, ['vision charged 70'])
})

t.test('a call that is unknown is not counted as unknown again, but may still be charged or released', async t => {
  const { ledger, world } = books(t)
  for (const callId of ['c1', 'c2']) await (await ledger.reserve(aPlan(callId))).unknown()
  world.said.splice(0)
  await (await ledger.find('c1', NOON))!.reservation.unknown({ remaining: 5 })
  t.same(world.said, ['balance 5'])
  await (await ledger.find('c1', NOON))!.reservation.settle({ cost: 70 })
  await (await ledger.find('c2', NOON))!.reservation.release()
  t.match(world.entries.get('c1'), { state: 'charged', settled: { cost: 70 } })
  t.equal(world.entries.has('c2'), false)
  t.same(world.said, ['balance 5', 'vision charged 70'])
})

t.test('a call is own until its end is written', async t => {
  const { ledger, world } = books(t)
  const reservation = await ledger.reserve(aPlan('c1'))
  t.equal(ledger.isOwn('c1'), true)
  t.match(ledger.underWay(), [{ callId: 'c1', team: 'vision', requestId: 'r', resultId: 'k' }])
  const writing = gate()
  world.pause = () => writing.passed
  const ended = reservation.release()
  await quiet()
  t.equal(ledger.isOwn('c1'), true)
  writing.open()
  await ended
  t.equal(ledger.isOwn('c1'), false)
  t.same(ledger.underWay(), [])
})

t.test('what a team would be refused with is told, and nothing is held', async t => {
  const rows: [why: string, budget: { daily?: number; monthly?: number } | undefined, code: string | undefined][] = [
    ['no budget', undefined, undefined],
    ['room for one more', { daily: 200, monthly: 200 }, undefined],
    ['the day is full', { daily: 199, monthly: 1_000 }, 'budget_exhausted'],
    ['the month is full', { daily: 1_000, monthly: 199 }, 'budget_exhausted'],
  ]
  for (const [why, budget, code] of rows) {
    const { ledger, world } = books(t)
    await ledger.reserve(aPlan('c1'))
    const refusal = await ledger.wouldRefuse(aCaller(budget ? { budget } : {}).team)
    t.equal(refusal?.code, code, why)
    if (code) t.ok((refusal?.retryAfterSeconds ?? 0) > 0)
    t.equal(world.entries.size, 1)
  }
  const { ledger, world } = books(t, { store: { booked: async () => Promise.reject(new StoreError('down')) } })
  t.equal((await ledger.wouldRefuse(budgeted.team))?.code, 'store_unavailable')
  t.equal(await ledger.wouldRefuse(aCaller().team), undefined, 'a team without a budget is not held up')
  t.equal(world.entries.size, 0)
})
