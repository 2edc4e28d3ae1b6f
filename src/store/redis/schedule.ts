import type { ScheduleStore } from '../../contracts/schedule.js'
import { decodeSchedule } from '../schedule/state.js'
import { stepAndView, viewOf } from '../schedule/view.js'
import type { RedisConnection } from './connection.js'
import type { Notifications } from './notifications.js'
import { READ, STEP } from './schedule-script.js'

/** Time after the last step in which an unused schedule is kept. Longer than any pause of the pacer. */
const KEEP_SECONDS = 600

export interface ScheduleOptions {
  connection: RedisConnection
  notifications: Notifications
  prefix: string
  /** Channel of the notifications. */
  channel: string
}

/** Creates the schedule of all processes that share a Redis. Each step is one script. */
export function createSchedule({ connection, notifications, prefix, channel }: ScheduleOptions): ScheduleStore {
  const key = `${prefix}:schedule`
  const step = connection.script('scheduleStep', 1, STEP)
  const read = connection.script('scheduleRead', 1, READ)
  return {
    async step(change, limits) {
      const answer = await step(key, JSON.stringify(change), JSON.stringify(limits), channel, KEEP_SECONDS)
      const [now, text, dropped] = answer as [number, string, number[]]
      return viewOf(decodeSchedule(text), { process: change.process, dropped, limits, now })
    },
    async forecast(change, limits) {
      const [now, text] = (await read(key)) as [number, string | null]
      return stepAndView(decodeSchedule(text), change, limits, now)
    },
    watch: (process, onNotice) => notifications.subscribe(`schedule:${process}`, onNotice),
  }
}
