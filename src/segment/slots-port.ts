import type { GatewayError } from '../contracts/errors.js'
import type { Caller, Team } from '../contracts/types.js'

/** Slots for calls at the upstream. */
export interface Slots {
  /**
   * Waits for a slot. Throws `overloaded`, `upstream_busy` while Segmind limits the rate for longer
   * than the request may wait, or the reason of `signal` when it is aborted.
   */
  acquire(request: SlotRequest): Promise<Slot>
}

export interface SlotRequest {
  caller: Caller
  /** Served after the interactive requests of its team. */
  isBatch: boolean
  /** Latest end of the wait, by `performance.now()`. */
  deadline: number
  /** Aborted when no caller waits for the purchase any more. */
  signal?: AbortSignal
  /** Called with a function that returns the place in the queue, and without it when the wait ends. */
  onPlace?(place: (() => QueuePlace | undefined) | undefined): void
}

export interface Slot {
  waitedMs: number
  /**
   * Frees the slot. Repeated calls have no effect. The time of an `unused` one says nothing about how
   * long a call takes.
   */
  release(use?: 'unused'): void
  /** Slows all processes down, after Segmind refused a call for its rate. `waitMs`: as it asked. */
  throttled(waitMs: number | undefined): void
  /** Frees the slot and waits for another one, before the other requests of its team. */
  requeue(): Promise<Slot>
}

/** Place in the queue: 1 for the next request to be served. */
export interface QueuePlace {
  position: number
  /** Absent while the use of slots is unknown. */
  waitMs?: number
}

/** Queue as a new request of a team would find it. */
export interface QueueForecast extends Partial<QueuePlace> {
  /** Waiting requests of all teams. */
  depth: number
  /** The error, if the request would be refused. */
  refusal?: GatewayError
}

/** Forecasts the queue. Never rejects. */
export type ForecastQueue = (team: Team) => Promise<QueueForecast>
