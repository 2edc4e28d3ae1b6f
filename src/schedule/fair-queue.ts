import { GatewayError } from '../errors.js'
import type { Caller, Team } from '../segment/types.js'

export interface FairQueueOptions {
  /** Turns held at once (`SEGMIND_MAX_CONCURRENCY`). */
  maxConcurrent: number
  /** Waiting requests of all teams together (`QUEUE_MAX`), and how long one waits (`QUEUE_TIMEOUT_MS`). */
  maxWaiting: number
  timeoutMs: number
  now(): number
  onWaited?(waitedMs: number): void
}

export interface Turn {
  waitedMs: number
  /** Gives the turn back; a second time changes nothing. */
  done(): void
}

interface Waiting {
  start(): void
  refuse(error: GatewayError): void
}

interface Lane {
  team: Team
  running: number
  waiting: Waiting[]
  /** Turns this team has had, each divided by its weight, never behind the others by more than one idle period. */
  served: number
}

const RETRY_AFTER_SECONDS = 2

/**
 * Hands out turns at the upstream so that a team with many requests does not keep the others waiting: among the teams that
 * wait, the one that had least for its weight is next, and no team holds more turns than its own limit.
 */
export class FairQueue {
  readonly #options: FairQueueOptions
  readonly #lanes = new Map<string, Lane>()
  #running = 0
  #waiting = 0
  /** How long a turn lasts, the last ones counting most; nothing before the first one has ended. */
  #meanTurnMs: number | undefined

  constructor(options: FairQueueOptions) {
    this.#options = options
  }

  /** Waits for a turn. Throws `overloaded` when too many wait already, or when it waited too long. */
  async take({ team }: Caller): Promise<Turn> {
    const lane = this.#lane(team)
    if (this.#waiting >= this.#options.maxWaiting && !this.#mayStart(lane)) {
      throw tooMany(this.#waiting)
    }
    const since = this.#options.now()
    await this.#inLine(lane)
    const waitedMs = this.#options.now() - since
    this.#options.onWaited?.(waitedMs)
    const startedAt = since + waitedMs
    return { waitedMs, done: once(() => this.#end(lane, this.#options.now() - startedAt)) }
  }

  get running(): number {
    return this.#running
  }

  /** Waiting requests by team; only teams that have any. */
  depth(): Map<string, number> {
    const lanes = [...this.#lanes.values()].filter(lane => lane.waiting.length > 0)
    return new Map(lanes.map(lane => [lane.team.id, lane.waiting.length]))
  }

  /** What a request of this team that came now would meet: how many wait, for how long it would where that is known, and the refusal of a full queue. */
  outlook(team: Team): { depth: number; waitMs?: number; refusal?: GatewayError } {
    const lane = this.#lanes.get(team.id) ?? { team, running: 0, waiting: [], served: 0 }
    const depth = this.#waiting
    const isFree = this.#mayStart({ ...lane, team })
    if (isFree && depth === 0) return { depth, waitMs: 0 }
    if (depth >= this.#options.maxWaiting && !isFree) return { depth, refusal: tooMany(depth) }
    if (this.#meanTurnMs === undefined) return { depth }
    return { depth, waitMs: ((depth + 1) / this.#options.maxConcurrent) * this.#meanTurnMs }
  }

  #inLine(lane: Lane): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer)
        this.#waiting--
      }
      const waiting: Waiting = {
        start: () => {
          leave()
          resolve()
        },
        refuse: error => {
          leave()
          lane.waiting.splice(lane.waiting.indexOf(waiting), 1)
          this.#forgetIdle(lane)
          reject(error)
        },
      }
      const { timeoutMs } = this.#options
      const timer = setTimeout(() => waiting.refuse(overloaded(`no turn at Segmind within ${timeoutMs} ms`)), timeoutMs)
      this.#waiting++
      lane.waiting.push(waiting)
      this.#startNext()
    })
  }

  #startNext(): void {
    for (let lane = this.#nextLane(); lane; lane = this.#nextLane()) {
      lane.running++
      lane.served += 1 / lane.team.limits.weight
      this.#running++
      lane.waiting.shift()?.start()
    }
  }

  /** Among equals the one that came last: whoever was there before has had a turn already. */
  #nextLane(): Lane | undefined {
    let next: Lane | undefined
    for (const lane of this.#lanes.values()) {
      if (lane.waiting.length > 0 && this.#mayStart(lane) && (!next || lane.served <= next.served)) next = lane
    }
    return next
  }

  #mayStart(lane: Lane): boolean {
    const own = lane.team.limits.concurrent ?? Number.POSITIVE_INFINITY
    return this.#running < this.#options.maxConcurrent && lane.running < own
  }

  #end(lane: Lane, turnMs: number): void {
    this.#meanTurnMs = this.#meanTurnMs === undefined ? turnMs : this.#meanTurnMs + (turnMs - this.#meanTurnMs) / 8
    lane.running--
    this.#running--
    this.#forgetIdle(lane)
    this.#startNext()
  }

  /** A team that comes (back) starts level with the one that had least: it neither jumps the others nor pays for its past. */
  #lane(team: Team): Lane {
    const known = this.#lanes.get(team.id)
    if (known) {
      known.team = team
      return known
    }
    const least = Math.min(...[...this.#lanes.values()].map(lane => lane.served))
    const lane: Lane = { team, running: 0, waiting: [], served: Number.isFinite(least) ? least : 0 }
    this.#lanes.set(team.id, lane)
    return lane
  }

  #forgetIdle(lane: Lane): void {
    if (lane.running === 0 && lane.waiting.length === 0) this.#lanes.delete(lane.team.id)
  }
}

function once(action: () => void): () => void {
  let done = false
  return () => {
    if (done) return
    done = true
    action()
  }
}

function tooMany(waiting: number): GatewayError {
  return overloaded(`${waiting} requests are waiting for Segmind already`)
}

function overloaded(why: string): GatewayError {
  return new GatewayError('overloaded', `The gateway has too much to do: ${why}.`, {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
  })
}
