import type { Clock } from '../../contracts/clock.js'
import type { ScheduleStore } from '../../contracts/schedule.js'
import { emptySchedule } from './state.js'
import { stepAndView } from './view.js'

/** Creates a schedule in the memory of one process. */
export function createMemorySchedule(now: Clock): ScheduleStore {
  const state = emptySchedule()
  return {
    step: async (change, limits) => stepAndView(state, change, limits, Math.floor(now())),
    forecast: async (change, limits) => stepAndView(structuredClone(state), change, limits, Math.floor(now())),
    watch: () => () => undefined,
  }
}
