import fc from 'fast-check'
import t from 'tap'
import type { NewScheduleEntry, ScheduleLimits } from '../../../src/contracts/schedule.js'
import { emptySchedule, type ScheduleState } from '../../../src/store/schedule/state.js'
import { grantOrder, stepSchedule } from '../../../src/store/schedule/step.js'
import { change, entry, limits, NOW, randomSteps, TEAMS } from './scenario.js'

const running = (state: ScheduleState) => state.entries.filter(one => one.state === 'running')
const ids = (entries: { id: number }[]) => entries.map(({ id }) => id)

/** Enters one after the other, as processes do. */
function enterAll(state: ScheduleState, entries: NewScheduleEntry[], within: ScheduleLimits) {
  return entries.flatMap(one => stepSchedule(state, change('a', { enter: [one] }), within, NOW).dropped)
}

/** Releases the running entry again and again, and returns the ids in the order of their slots. */
function serveAll(state: ScheduleState, within: ScheduleLimits): number[] {
  const served: number[] = []
  for (let [one] = running(state); one; [one] = running(state)) {
    served.push(one.id)
    stepSchedule(state, change('a', { leave: [{ id: one.id }] }), within, NOW)
  }
  return served
}

const of = (team: string, rank = 1) => ({ team, rank, ...TEAMS[team] })

const ORDERS: [rule: string, entries: ReturnType<typeof of>[], order: number[]][] = [
  ['a single team is served in order of arrival', [of('plain'), of('plain'), of('plain')], [1, 2, 3]],
  [
    'a team with many requests does not delay another team',
    [of('plain'), of('plain'), of('plain'), of('plain'), of('capped'), of('capped')],
    [1, 5, 2, 6, 3, 4],
  ],
  [
    'a team of weight 3 gets three slots for one of another team',
    [...Array.from({ length: 3 }, () => of('plain')), ...Array.from({ length: 5 }, () => of('heavy'))],
    [1, 4, 2, 5, 6, 7, 3, 8],
  ],
  [
    'within a team a refused call comes first, then clicks, then batches',
    [of('plain', 2), of('plain', 2), of('plain'), of('plain', 0)],
    [1, 4, 3, 2],
  ],
  ['a batch of one team does not wait for clicks of another', [of('plain'), of('plain'), of('capped', 2)], [1, 3, 2]],
]

for (const [rule, teams, order] of ORDERS) {
  t.test(rule, async t => {
    const state = emptySchedule()
    enterAll(
      state,
      teams.map((one, index) => entry(index + 1, one)),
      limits(),
    )
    t.same([...ids(running(state)), ...ids(grantOrder(state))], order, 'the forecast')
    t.same(serveAll(state, limits()), order)
  })
}

t.test('a team at its own limit waits while others proceed', async t => {
  const state = emptySchedule()
  const within = limits({ slots: 3 })
  enterAll(state, [entry(1, of('capped')), entry(2, of('capped')), entry(3, of('plain'))], within)
  t.same(ids(running(state)), [1, 3])
  stepSchedule(state, change('a', { leave: [{ id: 1 }] }), within, NOW)
  t.same(ids(running(state)), [2, 3])
})

const DROPS: [rule: string, maxWaiting: number, entries: ReturnType<typeof of>[], dropped: number[]][] = [
  [
    'a newcomer of a small team replaces the newest of the largest team',
    3,
    [of('plain'), of('plain'), of('plain'), of('plain'), of('capped')],
    [4],
  ],
  ['a newcomer of the largest team is refused itself', 2, [of('plain'), of('plain'), of('plain'), of('plain')], [4]],
  ['a newcomer of an equal team is refused itself', 2, [of('plain'), of('plain'), of('capped'), of('capped')], [4]],
  ['a batch leaves before a click of the same team', 2, [of('plain'), of('plain', 2), of('plain'), of('plain')], [2]],
  [
    'a team of weight 3 may have three times as many waiting',
    4,
    [of('plain'), of('heavy'), of('heavy'), of('heavy'), of('plain'), of('plain')],
    [6],
  ],
  ['without a queue only a free slot is granted', 0, [of('plain'), of('capped')], [2]],
]

for (const [rule, maxWaiting, teams, dropped] of DROPS) {
  t.test(rule, async t => {
    const state = emptySchedule()
    const all = teams.map((one, index) => entry(index + 1, one))
    t.same(enterAll(state, all, limits({ maxWaiting })), dropped)
    t.notOk(state.entries.some(({ state }) => state === 'dropped'))
  })
}

t.test('a dropped entry of another process is reported to it', async t => {
  const state = emptySchedule()
  const within = limits({ maxWaiting: 2 })
  stepSchedule(state, change('a', { enter: [entry(1), entry(2), entry(3)] }), within, NOW)
  const { notify, dropped } = stepSchedule(state, change('b', { enter: [entry(1, of('capped'))] }), within, NOW)
  t.same([notify, dropped], [['a'], []])
  t.same(stepSchedule(state, change('a'), within, NOW).dropped, [3])
})

t.test('entries of a silent process expire, and its slots are granted to others', async t => {
  const state = emptySchedule()
  stepSchedule(state, change('dead', { enter: [entry(1), entry(2)] }), limits(), NOW)
  stepSchedule(state, change('a', { enter: [entry(7)] }), limits(), NOW)
  stepSchedule(state, change('a'), limits(), NOW + 9_999)
  t.same(ids(running(state)), [1])
  stepSchedule(state, change('a'), limits(), NOW + 10_000)
  t.same(state.entries, [{ id: 7, by: 'a', team: 'vision', rank: 1, state: 'running' }])
})

t.test('no random course breaks a limit or leaves a slot free that an entry could use', async () => {
  const allLimits = fc.record({
    slots: fc.integer({ min: 1, max: 4 }),
    maxWaiting: fc.integer({ min: 0, max: 6 }),
    perMinute: fc.constantFrom(0, 0, 300),
  })
  fc.assert(
    fc.property(randomSteps, allLimits, (steps, changes) => {
      const within = limits(changes)
      const state = emptySchedule()
      let now = NOW
      for (const { change, afterMs } of steps) {
        now += afterMs
        const isForced = ({ isRunning }: NewScheduleEntry) => isRunning === true
        // A process that comes back brings calls in flight, however many there are.
        stepSchedule(state, { ...change, enter: change.enter.filter(one => !isForced(one)) }, within, now)
        const used = running(state)
        const waiting = state.entries.filter(one => one.state === 'waiting')
        const capped = used.filter(({ team }) => team === 'capped').length
        if (used.length > within.slots || capped > 1 || waiting.length > within.maxWaiting) return false
        const isPaced = within.perMinute > 0 || state.pacer.cutAt > 0 || state.pacer.pausedUntil > now
        const couldRun = waiting.some(({ team }) => team !== 'capped' || capped === 0)
        if (couldRun && used.length < within.slots && !isPaced) return false
        if (Object.keys(state.teams).some(team => !state.entries.some(one => one.team === team))) return false
      }
      return true
    }),
    { numRuns: 300 },
  )
})

t.test('slots are shared by weight, and no team waits longer than its share', async () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 4 }), weights => {
      const state = emptySchedule()
      const each = 60
      const all = weights.flatMap((weight, team) =>
        Array.from({ length: each }, (_, index) =>
          entry(team * each + index, { team: `t${team}`, cost: Math.round(1_000_000 / weight) }),
        ),
      )
      stepSchedule(state, change('a', { enter: all }), limits({ maxWaiting: 1_000 }), NOW)
      const served = serveAll(state, limits({ maxWaiting: 1_000 })).map(id => Math.floor(id / each))
      const total = weights.reduce((sum, weight) => sum + weight, 0)
      // As long as every team has waiting entries, each gets its share to within one slot a team.
      const rounds = served.slice(0, each)
      return weights.every((weight, team) => {
        const share = rounds.filter(one => one === team).length
        return Math.abs(share - (each * weight) / total) <= weights.length
      })
    }),
    { numRuns: 50 },
  )
})

t.test('a click waits for one slot at most, whatever other teams have queued', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 200 }), (slots, queued) => {
      const state = emptySchedule()
      const within = limits({ slots, maxWaiting: 100 })
      const flood = Array.from({ length: queued + slots }, (_, index) => entry(index, of('plain', 2)))
      stepSchedule(state, change('a', { enter: flood }), within, NOW)
      stepSchedule(state, change('b', { enter: [entry(1, of('light'))] }), within, NOW)
      const [first] = running(state)
      stepSchedule(state, change('a', { leave: first ? [{ id: first.id }] : [] }), within, NOW)
      return running(state).some(({ by }) => by === 'b')
    }),
    { numRuns: 50 },
  )
})
