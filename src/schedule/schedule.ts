import { randomBytes } from 'node:crypto'
import type { Clock } from '../contracts/clock.js'
import { defined } from '../contracts/defined.js'
import type { GatewayError } from '../contracts/errors.js'
import type { RetryReason } from '../contracts/observer.js'
import {
  type NewScheduleEntry,
  RANK,
  type ScheduleLimits,
  type SchedulePlace,
  type ScheduleStore,
  type ScheduleView,
  SLOT_COST,
} from '../contracts/schedule.js'
import type { Team } from '../contracts/types.js'
import type { QueueForecast, Slot, SlotRequest, Slots } from '../segment/ports.js'
import { queueFull, refusalOf, waitedTooLong } from './refusals.js'
import { ScheduleLink } from './schedule-link.js'

export interface ScheduleOptions {
  /** The schedule of all replicas. Absent: this process has its own. */
  shared?: ScheduleStore | undefined
  /** Schedule of this process alone, for the time in which the shared one does not answer. */
  local: ScheduleStore
  limits: Omit<ScheduleLimits, 'ttlMs'>
  /** Longest wait of one request (`QUEUE_TIMEOUT_MS`). */
  timeoutMs: number
  /**
   * Interval of the steps by which a process keeps its entries, and the time after which those of a
   * silent process expire. Defaults 1000 and 10 000.
   */
  heartbeatMs?: number
  ttlMs?: number
  /** Monotonic, milliseconds. */
  now: Clock
  observer?: ScheduleObserver | undefined
}

interface ScheduleObserver {
  /** Called for each slot that is granted. */
  slotGranted(waitedMs: number): void
  storeFailed(error: unknown, operation: string): void
  /** Called before a call that Segmind refused for its rate is sent again. */
  upstreamRetried(reason: RetryReason): void
}

type WaitRequest = Pick<SlotRequest, 'deadline' | 'signal' | 'onPlace'> & { team: Team; rank: number }

interface Ticket {
  team: Team
  entry: NewScheduleEntry
  since: number
  deadline: number
  /** True until the first view shows the ticket. */
  isNew: boolean
  place: SchedulePlace | undefined
  /** Settles the wait. Undefined once the slot is granted. */
  grant: (() => void) | undefined
  refuse(error: unknown): void
}

/** Id of the entry of a forecast. */
const PROBE = 0

/**
 * Grants slots at the upstream so that a team with many requests does not delay the others, over
 * all replicas. The next slot goes to the waiting team that was served least for its weight; no
 * team uses more slots than its own limit.
 */
export class Schedule implements Slots {
  readonly #options: ScheduleOptions
  readonly #limits: ScheduleLimits
  readonly #tickets = new Map<number, Ticket>()
  readonly #link: ScheduleLink
  #lastId = PROBE

  constructor(options: ScheduleOptions) {
    const { shared, local, limits, heartbeatMs = 1_000, ttlMs = 10_000, now, observer } = options
    this.#options = options
    this.#limits = { ...limits, ttlMs }
    this.#link = new ScheduleLink({
      process: randomBytes(9).toString('base64url'),
      shared,
      local,
      limits: this.#limits,
      heartbeatMs,
      now,
      entries: () => [...this.#tickets.values()].map(entryOf),
      onView: view => this.#apply(view),
      onStoreFailed: error => observer?.storeFailed(error, 'schedule: step'),
    })
  }

  /**
   * Waits for a slot. Throws `overloaded` when the queue is full, `overloaded` or `upstream_busy`
   * when the expected wait is too long, and the reason of `signal` when it is aborted.
   */
  acquire({ caller, isBatch, ...request }: SlotRequest): Promise<Slot> {
    return this.#wait({ ...request, team: caller.team, rank: isBatch ? RANK.batch : RANK.interactive })
  }

  /** Slots that this process uses. */
  get running(): number {
    return this.#tickets.size - this.#waiting().length
  }

  /** Counts this process's waiting requests by team; omits teams that have none. */
  depth(): Map<string, number> {
    const depth = new Map<string, number>()
    for (const { team } of this.#waiting()) depth.set(team.id, (depth.get(team.id) ?? 0) + 1)
    return depth
  }

  /** Forecasts the wait of an interactive request of this team. Never rejects. */
  async forecast(team: Team): Promise<QueueForecast> {
    const view = await this.#link.forecast(newEntry(PROBE, team, RANK.interactive))
    const state = view.own.get(PROBE)
    const depth = view.waiting - (state === 'waiting' ? 1 : 0)
    if (state === 'dropped') return { depth, refusal: queueFull(depth) }
    const place = view.placeOf(PROBE)
    if (!place) return { depth, position: 0, waitMs: 0 }
    const refusal = refusalOf(place, { patienceMs: this.#options.timeoutMs, isNew: true })
    return { depth, ...forecastOf(place), ...defined({ refusal }) }
  }

  close(): Promise<void> {
    return this.#link.close()
  }

  #wait(request: WaitRequest): Promise<Slot> {
    const { team, rank, deadline, signal, onPlace } = request
    const { now, timeoutMs } = this.#options
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const entry = newEntry(++this.#lastId, team, rank)
      const since = now()
      const end = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
        onPlace?.(undefined)
      }
      const leave = (error: unknown) => {
        if (!this.#tickets.delete(entry.id)) return
        this.#link.leave(entry.id)
        ticket.refuse(error)
      }
      const ticket: Ticket = {
        team,
        entry,
        since,
        deadline: Math.min(deadline, since + timeoutMs),
        isNew: true,
        place: undefined,
        grant: () => {
          ticket.grant = undefined
          end()
          resolve(this.#slotOf(ticket, request))
        },
        refuse: error => {
          end()
          reject(error)
        },
      }
      const timer = setTimeout(() => leave(waitedTooLong(timeoutMs, ticket.place)), timeoutMs)
      const abort = () => leave(signal?.reason)
      signal?.addEventListener('abort', abort, { once: true })
      onPlace?.(() => ticket.place && forecastOf(ticket.place))
      this.#tickets.set(entry.id, ticket)
      this.#link.enter(entry)
    })
  }

  #slotOf(ticket: Ticket, request: WaitRequest): Slot {
    const { now, observer } = this.#options
    const grantedAt = now()
    const waitedMs = grantedAt - ticket.since
    observer?.slotGranted(waitedMs)
    const release = (use?: 'unused') => {
      const usedMs = use === 'unused' ? undefined : Math.round(now() - grantedAt)
      if (this.#tickets.delete(ticket.entry.id)) this.#link.leave(ticket.entry.id, usedMs)
    }
    return {
      waitedMs,
      release,
      throttled: waitMs => this.#link.throttled(waitMs),
      requeue: async () => {
        const again = this.#wait({ ...request, rank: RANK.resend })
        release()
        const slot = await again
        observer?.upstreamRetried('busy')
        return slot
      },
    }
  }

  #apply(view: ScheduleView): void {
    for (const [id, ticket] of this.#tickets) {
      if (!ticket.grant || this.#link.isPending(id)) continue
      const state = view.own.get(id)
      if (state === 'running') ticket.grant()
      else if (state === 'dropped') this.#refuse(id, ticket, queueFull(view.waiting))
      else if (state === 'waiting') this.#place(id, ticket, view)
    }
  }

  #place(id: number, ticket: Ticket, view: ScheduleView): void {
    ticket.place = view.placeOf(id)
    if (!ticket.place) return
    const refusal = refusalOf(ticket.place, {
      patienceMs: ticket.deadline - this.#options.now(),
      isNew: ticket.isNew,
    })
    ticket.isNew = false
    if (!refusal) return
    this.#refuse(id, ticket, refusal)
    this.#link.leave(id)
  }

  #refuse(id: number, ticket: Ticket, error: GatewayError): void {
    this.#tickets.delete(id)
    ticket.refuse(error)
  }

  #waiting(): Ticket[] {
    return [...this.#tickets.values()].filter(({ grant }) => grant !== undefined)
  }
}

function newEntry(id: number, { id: team, limits: { weight, concurrent } }: Team, rank: number): NewScheduleEntry {
  return { id, team, rank, cost: Math.round(SLOT_COST / weight), ...defined({ concurrent }) }
}

function entryOf({ entry, grant }: Ticket): NewScheduleEntry {
  return grant ? entry : { ...entry, isRunning: true }
}

function forecastOf({ position, slotWaitMs, pacedMs }: SchedulePlace): { position: number; waitMs?: number } {
  const waitMs = slotWaitMs === undefined && pacedMs === 0 ? undefined : Math.max(slotWaitMs ?? 0, pacedMs)
  return { position, ...defined({ waitMs }) }
}
