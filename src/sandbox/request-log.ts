import type { Clock } from '../contracts/clock.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import { ExpiringMap } from './expiring-map.js'
import type { Triggers } from './triggers.js'

/** A request that was accepted. `cost` and `outputId` are absent for one that failed. */
export interface LoggedRequest {
  id: string
  startedAt: number
  cost?: Nanocredits
  outputId?: string
  row: Triggers['row']
}

/** A request in the history. */
export interface VisibleRequest extends LoggedRequest {
  endedAt: number
  isCostKnown: boolean
}

const MIB = 1024 * 1024
const TTL_MS = 24 * 3_600_000
const LATE_MS = 60_000

/** The requests of the last day, and the pictures of v1. */
export class RequestLog {
  readonly #now: Clock
  readonly #requests: ExpiringMap<LoggedRequest & { endedAt: number }>
  readonly #outputs: ExpiringMap<{ jpeg: Buffer; isCut: boolean }>

  constructor(now: Clock) {
    this.#now = now
    this.#requests = new ExpiringMap({ ttlMs: TTL_MS, maxEntries: 10_000 }, now)
    this.#outputs = new ExpiringMap({ ttlMs: TTL_MS, maxEntries: 10_000, maxBytes: 64 * MIB }, now)
  }

  add(request: LoggedRequest, jpeg?: Buffer): void {
    this.#requests.set(request.id, { ...request, endedAt: this.#now() })
    if (jpeg) this.#outputs.set(request.id, { jpeg, isCut: false }, jpeg.length)
  }

  output(id: string): { jpeg: Buffer; isCut: boolean } | undefined {
    return this.#outputs.get(id)
  }

  /** Returns the rows that are visible now, newest first. A doubled request has two. */
  rows(): VisibleRequest[] {
    const rows = this.#requests.values().flatMap(request => {
      const { row } = request
      const isLanded = this.#now() - request.endedAt >= LATE_MS
      if (row === 'missing' || (row === 'late' && !isLanded)) return []
      const visible = { ...request, isCostKnown: row !== 'null' || isLanded }
      return row === 'doubled' ? [visible, visible] : [visible]
    })
    return rows.reverse()
  }
}
