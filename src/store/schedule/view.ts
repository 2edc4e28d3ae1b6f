import { defined } from '../../contracts/defined.js'
import type {
  ScheduleChange,
  ScheduleEntryState,
  ScheduleLimits,
  SchedulePlace,
  ScheduleView,
} from '../../contracts/schedule.js'
import { pacedWaitMs } from './pacer.js'
import type { ScheduleState, StoredEntry } from './state.js'
import { grantOrder, stepSchedule, waitingOf } from './step.js'

interface ViewContext {
  process: string
  dropped: readonly number[]
  limits: ScheduleLimits
  now: number
}

/** Applies a change to the schedule. Returns what its process sees afterwards. */
export function stepAndView(
  state: ScheduleState,
  change: ScheduleChange,
  limits: ScheduleLimits,
  now: number,
): ScheduleView {
  const { dropped } = stepSchedule(state, change, limits, now)
  return viewOf(state, { process: change.process, dropped, limits, now })
}

/** Shows a schedule as one process sees it. Places are computed when the first one is requested. */
export function viewOf(state: ScheduleState, { process, dropped, limits, now }: ViewContext): ScheduleView {
  const own = new Map<number, ScheduleEntryState>()
  for (const entry of state.entries) if (entry.by === process) own.set(entry.id, entry.state)
  for (const id of dropped) own.set(id, 'dropped')
  let order: StoredEntry[] | undefined
  let places: Map<number, number> | undefined
  return {
    own,
    waiting: waitingOf(state).length,
    isShared: Object.keys(state.processes).some(name => name !== process),
    pacedMs: pacedWaitMs(state.pacer, limits.perMinute, now, 1),
    placeOf(id) {
      if (own.get(id) !== 'waiting') return undefined
      order ??= grantOrder(state)
      places ??= new Map(order.flatMap(({ by, id }, index) => (by === process ? [[id, index]] : [])))
      const index = places.get(id)
      return index === undefined ? undefined : placeAt(state, order, { index, limits, now })
    },
  }
}

function placeAt(
  state: ScheduleState,
  order: readonly StoredEntry[],
  { index, limits, now }: { index: number; limits: ScheduleLimits; now: number },
): SchedulePlace {
  const { pacer, meanUseMs } = state
  const position = index + 1
  const team = order[index]?.team ?? ''
  const ownPosition = order.slice(0, position).filter(entry => entry.team === team).length
  const own = Math.max(1, state.teams[team]?.concurrent ?? -1)
  const isCapped = (state.teams[team]?.concurrent ?? -1) >= 0
  const turns = Math.max(position / limits.slots, isCapped ? ownPosition / own : 0)
  return {
    position,
    ...defined({ slotWaitMs: meanUseMs < 0 ? undefined : Math.round(turns * meanUseMs) }),
    pacedMs: pacedWaitMs(pacer, limits.perMinute, now, position),
    isThrottled: pacer.cutAt > 0,
  }
}
