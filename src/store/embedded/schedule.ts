import type { Clock } from '../../contracts/clock.js'
import type { ScheduleStore } from '../../contracts/schedule.js'
import { emptySchedule, type ScheduleState } from '../schedule/state.js'
import { stepAndView } from '../schedule/view.js'
import type { Environment } from './environment.js'

const KEY = 'schedule'
/** Short, since a read costs microseconds: all processes of the machine map the same memory. */
const POLL_MS = 50

/** Creates the schedule of the processes of one machine. Each step is one transaction. */
export function createSchedule(environment: Environment, now: Clock): ScheduleStore {
  const schedules = environment.root.openDB<ScheduleState, string>('schedule', {})
  return {
    pollMs: POLL_MS,
    step: (change, limits) =>
      environment.write(() => {
        const state = schedules.get(KEY) ?? emptySchedule()
        const view = stepAndView(state, change, limits, now())
        schedules.put(KEY, state)
        return view
      }),
    forecast: async (change, limits) =>
      environment.read(() => {
        // Without the reset, this read sees the state of an earlier read in the same event-loop
        // iteration.
        schedules.resetReadTxn()
        return stepAndView(schedules.get(KEY) ?? emptySchedule(), change, limits, now())
      }),
    watch: () => () => undefined,
  }
}
