import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { ScheduleStore } from '../../src/contracts/schedule.js'
import { StoreError } from '../../src/contracts/store.js'
import { Schedule, type ScheduleOptions } from '../../src/schedule/schedule.js'
import type { Slot } from '../../src/segment/ports.js'
import { createMemorySchedule } from '../../src/store/schedule/memory-schedule.js'
import { deferred } from '../support/deferred.js'
import { aCaller } from '../support/doubles/team.js'
import { eventually } from '../support/eventually.js'

const NOW = 1_764_547_200_000

type Changes = Partial<Omit<ScheduleOptions, 'limits'>> & Partial<ScheduleOptions['limits']>

/** Schedules of one process each; with `shared`, of several. The clocks move together. */
function world(t: Test, changes: Changes = {}) {
  const { slots = 1, maxWaiting = 100, perMinute = 0, ...options } = changes
  const clock = { now: 0 }
  const schedule = new Schedule({
    local: createMemorySchedule(() => NOW + clock.now),
    limits: { slots, maxWaiting, perMinute },
    timeoutMs: 1e6,
    heartbeatMs: 10,
    now: () => clock.now,
    ...options,
  })
  t.teardown(() => schedule.close())
  const acquire = (id = 'vision', request: Partial<Parameters<Schedule['acquire']>[0]> = {}) =>
    schedule.acquire({ caller: aCaller({ id }), isBatch: false, deadline: Number.POSITIVE_INFINITY, ...request })
  return { schedule, acquire, clock }
}

/** Lets every promise that can settle do so. */
const settled = () => new Promise(resolve => setImmediate(resolve))

t.test('the number of slots in use never exceeds the limit', async t => {
  const { schedule, acquire } = world(t, { slots: 3 })
  let most = 0
  const work = Array.from({ length: 50 }, async () => {
    const slot = await acquire()
    most = Math.max(most, schedule.running)
    await settled()
    slot.release()
  })
  await Promise.all(work)
  t.equal(most, 3)
  t.equal(schedule.running, 0)
})

t.test('a process that is alone sends the end of a call with the next request, or a little later', async t => {
  const store = createMemorySchedule(() => NOW)
  const steps: string[] = []
  const shared: ScheduleStore = {
    ...store,
    step(change, limits) {
      steps.push(`${change.enter.length} enter, ${change.leave.length} leave`)
      return store.step(change, limits)
    },
  }
  const { schedule, acquire } = world(t, { shared, heartbeatMs: 1e6 })
  for (let call = 0; call < 3; call++) (await acquire()).release()
  t.same(steps.splice(0), ['1 enter, 0 leave', '1 enter, 1 leave', '1 enter, 1 leave'])
  await eventually('the last call never ended', async () => steps.length > 0)
  t.same(steps.splice(0), ['0 enter, 1 leave'])
  ;(await acquire()).release()
  await schedule.close()
  t.same(steps.splice(0), ['1 enter, 0 leave', '0 enter, 1 leave'], 'a stop sends it at once')

  const other = world(t, { shared })
  const held = await other.acquire()
  const waiting = world(t, { shared }).acquire()
  await settled()
  held.release()
  ;(await waiting).release()
})

t.test('a call that ends after the stop of a process that is alone leaves at once', async t => {
  const shared = createMemorySchedule(() => NOW)
  const { schedule, acquire } = world(t, { shared, heartbeatMs: 1e6 })
  const slot = await acquire()
  await schedule.close()
  slot.release()
  await settled()
  const next = world(t, { shared })
  let isGranted = false
  void next.acquire().then(() => {
    isGranted = true
  })
  await settled()
  t.ok(isGranted)
})

t.test('calls that end one after another do not delay the end of the first one further', async t => {
  const shared = createMemorySchedule(() => NOW)
  const one = world(t, { shared, slots: 8, heartbeatMs: 1e6 })
  const held = await Promise.all(Array.from({ length: 8 }, () => one.acquire()))
  const other = world(t, { shared, slots: 8 })
  let isGranted = false
  void other.acquire().then(() => {
    isGranted = true
  })
  await settled()
  for (const slot of held.slice(0, 7)) {
    slot.release()
    await sleep(40)
  }
  t.ok(isGranted)
})

t.test('clicks of a team come before its batches', async t => {
  const { acquire } = world(t)
  const order: string[] = []
  const held = await acquire()
  const ask = async (isBatch: boolean) => {
    const slot = await acquire('vision', { isBatch })
    order.push(isBatch ? 'batch' : 'click')
    slot.release()
  }
  const all = [ask(true), ask(true), ask(false)]
  await settled()
  held.release()
  await Promise.all(all)
  t.same(order, ['click', 'batch', 'batch'])
})

t.test('a full queue refuses with overloaded and Retry-After, and still grants a free slot', async t => {
  const { acquire } = world(t, { maxWaiting: 1 })
  const held = await acquire()
  const waiting = acquire()
  await t.rejects(acquire(), { code: 'overloaded', retryAfterSeconds: 2 })
  held.release()
  ;(await waiting).release()
  ;(await acquire()).release()
})

t.test('a request of a small team replaces the newest of the largest', async t => {
  const { acquire } = world(t, { maxWaiting: 2 })
  const held = await acquire()
  const [older, newest] = [acquire(), acquire()]
  const replaced = t.rejects(newest, { code: 'overloaded' })
  const click = acquire('labs')
  await replaced
  held.release()
  ;(await click).release()
  ;(await older).release()
})

t.test('a request that waited too long fails with overloaded and leaves the queue', async t => {
  const { schedule, acquire } = world(t, { timeoutMs: 1 })
  const held = await acquire()
  await t.rejects(acquire(), { code: 'overloaded' })
  t.equal(schedule.depth().size, 0)
  held.release()
  ;(await acquire()).release()
  t.equal(schedule.running, 0)
})

t.test('a request whose callers have left leaves the queue', async t => {
  const { schedule, acquire } = world(t)
  const held = await acquire()
  const leaving = new AbortController()
  const waiting = acquire('vision', { signal: leaving.signal })
  await settled()
  t.same([...schedule.depth()], [['vision', 1]])
  leaving.abort(new Error('all callers left'))
  await t.rejects(waiting, { message: 'all callers left' })
  await t.rejects(acquire('vision', { signal: leaving.signal }), { message: 'all callers left' })
  t.equal(schedule.depth().size, 0)
  held.release()
  ;(await acquire()).release()
})

t.test('releasing a slot twice frees it once', async t => {
  const { acquire } = world(t)
  const slot = await acquire()
  slot.release()
  slot.release()
  const next = await acquire()
  let isThird = false
  void acquire().then(third => {
    isThird = true
    third.release()
  })
  await settled()
  t.equal(isThird, false)
  next.release()
  await eventually('the third never got the slot', () => isThird)
})

t.test('the time waited for a slot is reported', async t => {
  const waits: number[] = []
  const observer = {
    slotGranted: (waitedMs: number) => void waits.push(waitedMs),
    storeFailed: () => {},
    upstreamRetried: () => {},
  }
  const { acquire, clock } = world(t, { observer })
  const held = await acquire()
  const next = acquire()
  await settled()
  clock.now = 40
  held.release()
  t.equal((await next).waitedMs, 40)
  t.same(waits, [0, 40])
})

t.test('a forecast tells depth, position, wait and refusal, and changes nothing', async t => {
  const { schedule, acquire, clock } = world(t, { slots: 2, maxWaiting: 2 })
  const { team } = aCaller()
  t.same(await schedule.forecast(team), { depth: 0, position: 0, waitMs: 0 })
  const first = await acquire()
  await acquire()
  t.same(await schedule.forecast(team), { depth: 0, position: 1 }, 'the use of a slot has no mean yet')
  const waiting = [acquire('labs'), acquire('labs')]
  await settled()
  t.same(await schedule.forecast(team), { depth: 1, position: 2 }, 'it would replace one of two')
  const labs = aCaller({ id: 'labs' })
  t.match(await schedule.forecast(labs.team), { depth: 2, refusal: { code: 'overloaded' } })
  clock.now = 800
  first.release()
  const [, ...granted] = [first, await waiting[0]]
  t.same(await schedule.forecast(team), { depth: 1, position: 1, waitMs: 400 }, 'half the use of one of the two slots')
  t.equal(schedule.running, 2)
  for (const slot of granted) slot?.release()
  ;(await waiting[1])?.release()
  const slow = aCaller({ id: 'slow', limits: { requestsPerMinute: 1, readsPerMinute: 10, weight: 1, concurrent: 0 } })
  t.match(await world(t).schedule.forecast(slow.team), { position: 1 }, 'a team at its own limit waits')
})

t.test('a slot that was not used does not shorten the expected wait', async t => {
  const { schedule, acquire, clock } = world(t)
  const { team } = aCaller()
  const used = await acquire()
  clock.now = 1_000
  used.release()
  for (let count = 0; count < 5; count++) (await acquire()).release('unused')
  await acquire()
  t.match(await schedule.forecast(team), { position: 1, waitMs: 1_000 })
})

t.test('a request that would wait longer than it may is refused at once, with the wait in Retry-After', async t => {
  const { acquire, clock } = world(t, { timeoutMs: 30_000 })
  const held = await acquire()
  const next = acquire()
  clock.now = 20_000
  held.release()
  const slot = await next
  const [second] = [acquire(), await settled()]
  await t.rejects(acquire(), { code: 'overloaded', retryAfterSeconds: 40 }, 'the second in the queue')
  await t.rejects(acquire('labs', { deadline: 21_000 }), { code: 'overloaded', retryAfterSeconds: 20 })
  slot.release()
  ;(await second).release()
})

t.test('a waiting request reports its place in the queue', async t => {
  const { acquire, clock } = world(t)
  const held = await acquire()
  const next = acquire()
  clock.now = 3_000
  held.release()
  const slot = await next
  let place: (() => object | undefined) | undefined
  const waiting = acquire('vision', {
    onPlace: now => {
      place = now
    },
  })
  await settled()
  t.same(place?.(), { position: 1, waitMs: 3_000 })
  slot.release()
  ;(await waiting).release()
  t.equal(place, undefined)
})

t.test('a refused call waits for the pause before the others, and its slot is free', async t => {
  const reasons: string[] = []
  const observer = {
    slotGranted: () => {},
    storeFailed: () => {},
    upstreamRetried: (reason: string) => void reasons.push(reason),
  }
  const { schedule, acquire, clock } = world(t, { slots: 2, observer })
  const [one, other] = [await acquire(), await acquire()]
  const order: string[] = []
  const record = (name: string) => (slot: Slot) => {
    order.push(name)
    slot.release()
  }
  const waiting = acquire().then(record('later'))
  await settled()
  one.throttled(5_000)
  const again = one.requeue().then(record('refused'))
  await settled()
  t.equal(schedule.running, 1)
  t.same([...schedule.depth()], [['vision', 2]])
  other.release()
  await settled()
  t.same(order, [])
  clock.now += 5_000
  await again
  t.same(order, ['refused'])
  t.same(reasons, ['busy'])
  clock.now += 60_000
  await waiting
})

t.test('requests get upstream_busy at once while Segmind refuses calls for longer than they may wait', async t => {
  const { acquire } = world(t, { timeoutMs: 30_000 })
  const slot = await acquire()
  const waiting = t.rejects(acquire('labs'), { code: 'upstream_busy', retryAfterSeconds: 60 })
  await settled()
  slot.throttled(60_000)
  await t.rejects(slot.requeue(), { code: 'upstream_busy', retryAfterSeconds: 60 })
  await waiting
  await t.rejects(acquire(), { code: 'upstream_busy', retryAfterSeconds: 60 })
})

t.test('a forecast counts an end of a call that is on its way to the store', async t => {
  const store = createMemorySchedule(() => NOW)
  let isSent = false
  let arriving: Promise<unknown> = Promise.resolve()
  const shared: ScheduleStore = {
    ...store,
    step(change, limits) {
      isSent = change.leave.length > 0
      return arriving.then(() => store.step(change, limits))
    },
  }
  const { schedule, acquire } = world(t, { shared, slots: 1, heartbeatMs: 1e6 })
  const slot = await acquire()
  const gate = deferred()
  arriving = gate.promise
  slot.release()
  await eventually('the end was never sent', async () => isSent)
  const forecast = schedule.forecast(aCaller({ id: 'vision' }).team)
  await settled()
  gate.resolve()
  t.match(await forecast, { depth: 0, position: 0 })
})

t.test('a rate that is used up refuses with overloaded', async t => {
  const { acquire } = world(t, { slots: 100, perMinute: 1, timeoutMs: 30_000 })
  await Promise.all([1, 2, 3, 4, 5].map(() => acquire()))
  await t.rejects(acquire(), { code: 'overloaded', retryAfterSeconds: 60 })
})

/** A store whose answers can fail or get lost, and which sends no notices. */
function flaky(store: ScheduleStore) {
  const state = { isDown: false, losesAnswers: false, steps: 0 }
  const guard = async <T>(work: () => Promise<T>): Promise<T> => {
    if (state.isDown) throw new StoreError('down')
    state.steps++
    const answer = await work()
    if (state.losesAnswers) throw new StoreError('the answer was lost')
    return answer
  }
  const shared: ScheduleStore = {
    step: (change, limits) => guard(() => store.step(change, limits)),
    forecast: (change, limits) => guard(() => store.forecast(change, limits)),
    watch: () => () => {},
  }
  return { shared, state }
}

t.test('two processes share the slots, and a lost notice costs one heartbeat', async t => {
  const { shared } = flaky(createMemorySchedule(() => NOW))
  const now = () => performance.now()
  const [one, other] = [world(t, { shared, now }), world(t, { shared, now })]
  const held = await one.acquire()
  let isGranted = false
  const waiting = other.acquire('labs').then(slot => {
    isGranted = true
    return slot
  })
  await settled()
  await settled()
  t.equal(isGranted, false)
  held.release()
  ;(await waiting).release()
})

t.test('a free slot takes one step, and its release another one', async t => {
  const { shared, state } = flaky(createMemorySchedule(() => NOW))
  const { acquire } = world(t, { shared, heartbeatMs: 1e6 })
  const slot = await acquire()
  t.equal(state.steps, 1)
  slot.release()
  await settled()
  t.equal(state.steps, 2)
})

t.test('while the store is down a process uses its own schedule, and returns with its entries', async t => {
  const store = createMemorySchedule(() => NOW)
  const { shared, state } = flaky(store)
  const now = () => performance.now()
  const [one, other] = [world(t, { shared, now }), world(t, { shared, now })]
  const held = await one.acquire()
  state.isDown = true
  const alone = await other.acquire('labs')
  const [next, own] = [one.acquire(), other.acquire('labs')]
  held.release()
  const second = await next
  state.isDown = false
  const limits = { slots: 1, maxWaiting: 100, perMinute: 0, ttlMs: 10_000 }
  await eventually('the shared schedule never had both calls', async () => {
    const view = await store.step({ process: 'third', enter: [], leave: [] }, limits)
    const probe = await store.forecast(
      { process: 'third', enter: [{ id: 0, team: 'third', rank: 1, cost: 1 }], leave: [] },
      { ...limits, slots: 3 },
    )
    return view.waiting === 1 && probe.own.get(0) === 'waiting' ? false : view.waiting === 1
  })
  alone.release()
  second.release()
  ;(await own).release()
})

t.test('a slot whose grant was lost is used, and one whose release was lost is freed', async t => {
  const { shared, state } = flaky(createMemorySchedule(() => NOW))
  const now = () => performance.now()
  const { acquire } = world(t, { shared, now })
  state.losesAnswers = true
  const slot = await acquire()
  state.losesAnswers = false
  slot.release()
  const next = await acquire()
  next.release()
  const other = world(t, { shared, now })
  ;(await other.acquire()).release()
})
