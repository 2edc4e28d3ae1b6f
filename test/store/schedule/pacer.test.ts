import t from 'tap'
import type { ScheduleChange, ScheduleLimits } from '../../../src/contracts/schedule.js'
import { emptySchedule } from '../../../src/store/schedule/state.js'
import { stepSchedule } from '../../../src/store/schedule/step.js'
import { viewOf } from '../../../src/store/schedule/view.js'
import { change, entry, limits, NOW } from './scenario.js'

/** A schedule with many free slots and waiting entries, and a clock. */
function world(changes: Partial<ScheduleLimits> = {}, waiting = 100) {
  const within = limits({ slots: 1_000, maxWaiting: 1_000, ...changes })
  const state = emptySchedule()
  const clock = { now: NOW }
  const step = (of: Partial<ScheduleChange> = {}) => stepSchedule(state, change('a', of), within, clock.now)
  const granted = () => state.entries.filter(one => one.state === 'running').length
  step({ enter: Array.from({ length: waiting }, (_, index) => entry(index + 1)) })
  /** Lets time pass in small steps, and returns the calls that it permitted. */
  const pass = (ms: number) => {
    const before = granted()
    for (let left = ms; left > 0; left -= 100) {
      clock.now += 100
      step({ enter: [] })
    }
    return granted() - before
  }
  const view = () => viewOf(state, { process: 'a', dropped: [], limits: within, now: clock.now })
  return { step, granted, pass, view, clock, state }
}

t.test('a rate permits a burst of five, then its calls at equal intervals', async t => {
  const { granted, pass, view } = world({ perMinute: 60 })
  t.equal(granted(), 5)
  t.equal(view().pacedMs, 1_000)
  t.equal(view().placeOf(8)?.pacedMs, 3_000)
  t.equal(pass(10_000), 10)
  t.equal(pass(60_000), 60)
})

t.test('without a rate nothing is paced', async t => {
  const { granted, view } = world()
  t.equal(granted(), 100)
  t.equal(view().pacedMs, 0)
})

t.test('a refused call pauses all calls as long as the upstream asked, a minute at most', async t => {
  for (const [waitMs, pauseMs] of [
    [7_000, 7_000],
    [3_600_000, 60_000],
    [undefined, 1_000],
  ] as const) {
    const { step, view, pass } = world({}, 10)
    step({ throttled: waitMs === undefined ? {} : { waitMs }, enter: [entry(50), entry(51)] })
    t.match(view().placeOf(50), { position: 1, pacedMs: pauseMs, isThrottled: true })
    t.equal(pass(pauseMs - 100), 0)
    t.equal(pass(100), 1, 'and then one call, not a burst')
  }
})

t.test('the rate is halved once a window, and recovers within a minute', async t => {
  const { step, state, pass } = world({ perMinute: 600 }, 1)
  for (let call = 0; call < 8; call++) step({ throttled: {} })
  t.match(state.pacer, { base: 300, ceiling: 600, strikes: 1 })
  pass(11_000)
  step({ throttled: {} })
  // It had recovered to 300 + 300 · 9 / 60 by then: the second refusal had paused calls for 2 s.
  t.match(state.pacer, { base: 172, ceiling: 600, strikes: 2 })
  pass(62_000)
  t.equal(state.pacer.cutAt, 0)
  t.equal(state.pacer.strikes, 0)
})

t.test('without a rate, a refusal limits calls to half of what was sent, and the limit ends', async t => {
  const { step, state, pass, granted } = world({}, 200)
  pass(60_000)
  t.equal(granted(), 200)
  step({ throttled: {} })
  t.match(state.pacer, { base: 100, ceiling: 400 })
  pass(62_000)
  t.equal(state.pacer.cutAt, 0)
  step({ enter: Array.from({ length: 50 }, (_, index) => entry(index + 500)) })
  t.equal(granted(), 250)
})

t.test('a clock that is set back stops no call for longer than a pause', async t => {
  const { step, clock, pass, view } = world({ perMinute: 60 }, 6)
  step({ throttled: { waitMs: 60_000 } })
  clock.now -= 3_600_000
  t.equal(pass(100), 0)
  t.ok(view().pacedMs <= 60_000)
  t.equal(pass(61_000), 1)
})
